"""The check for other people's repositories: files in, errors and remedies out."""

import json

import pytest
import yaml

from places import ROOT
from ropewalk.cli.check_configs import main

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 2,
    "max_position_embeddings": 8192,
    "rope_theta": 10000.0,
}
DYNAMIC = {**LLAMA, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}


@pytest.fixture
def written(tmp_path):
    def write(name, config):
        path = tmp_path / name
        path.write_text(json.dumps(config), "utf-8")
        return str(path)

    return write


def test_a_config_that_all_engines_read_alike_passes(written, capsys):
    assert main([written("config.json", LLAMA)]) == 0
    assert capsys.readouterr().out == ""


def test_an_error_names_file_engine_and_remedy(written, capsys):
    good, bad = written("good.json", LLAMA), written("bad.json", DYNAMIC)
    assert main([good, bad]) == 1
    told = capsys.readouterr().out
    assert f"{bad}: vllm: the base stays rope_theta" in told
    assert "[dynamic-no-op]\n  -> " in told
    assert good not in told


def test_the_length_is_that_served(written, capsys):
    path = written("config.json", LLAMA)
    assert main(["--length", "16384", path]) == 1
    assert "length-refused" in capsys.readouterr().out


def test_a_json_file_of_something_else_is_passed_over(written):
    assert main([written("config.json", {"port": 8080})]) == 0


@pytest.mark.parametrize("words", [["--length", "x"], ["nowhere/config.json"]])
def test_bad_input_is_one_line(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_hook_and_action_run_this_module():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    module = "python -m ropewalk.cli.check_configs"
    assert hook["entry"] == module
    last = action["runs"]["steps"][-1]
    assert last["run"].startswith(module)
    # What a user states reaches the shell as variables, never as text of the script.
    assert all("${{" not in step.get("run", "") for step in action["runs"]["steps"])
