"""Tables in a terminal of 80 columns: lines fit, and no word is cut."""

import json

import pytest
from rich.console import Console
from rich.table import Table

from ropewalk.cli.fitting import fit
from ropewalk.cli.main import main
from ropewalk.cli.output import print_table

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
    },
}


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 80 columns, as far as rich can tell."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("command", "names"),
    [
        (["audit"], ["transformers", "vllm", "sglang", "llama.cpp"]),
        (["plan", "--length", "262144"], ["leaky_rerope", "dynamic_yarn", "ntk_by_parts"]),
        (["inspect"], ["0", "63"]),
    ],
)
def test_a_command_s_table_fits_and_names_stand_whole(command, names, tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA))
    assert main([command[0], str(config), *command[1:]]) == 0
    output = capsys.readouterr().out
    assert "…" not in output
    lines = output.splitlines()
    assert max(len(line) for line in lines if "───" in line) <= 80
    for name in names:
        row = next(line for line in lines if line.split()[:1] == [name])
        assert len(row) <= 80


@pytest.mark.usefixtures("narrow")
def test_text_is_broken_between_words(capsys):
    sentence = "a remark of quite some length which goes on and on"
    print_table(("method", "count", "remark"), [("dual_chunk", "1,048,576", sentence)] * 2)
    output = capsys.readouterr().out
    assert {"dual_chunk", "1,048,576", *sentence.split()} <= set(output.split())


@pytest.mark.usefixtures("narrow")
def test_a_long_spec_is_broken_and_all_of_it_is_there(capsys):
    spec = "dual_chunk:chunk_size=192,local_window=64+yarn:factor=4,beta_fast=16,beta_slow=2"
    print_table(("method", "nats at 1x", "at 8x"), [(spec, "+0.01", "+1.25")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (head,) = [number for number, line in enumerate(lines) if "method" in line]
    end = lines[head].index("method") + len("method")
    assert "".join(line[:end].strip() for line in lines[head + 2 :]) == spec
    assert lines[head + 2].split()[-2:] == ["+0.01", "+1.25"]


def test_words_that_need_more_than_there_is_widen_the_table():
    table = Table()
    for _ in range(8):
        table.add_column("transformers")
    console = Console(width=80)
    fit(table, console)
    assert console.width > 80
    assert all(column.width == len("transformers") for column in table.columns)
