"""The command line: what each command asks of the library, what it prints, how it fails."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import ropewalk
from ropewalk.cli.main import main
from ropewalk.cli.options import SPEC_EXAMPLES, read_length
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.evaluation.executor import SerialExecutor

CELL = {
    "method": "none",
    "mode": "full",
    "length": 64,
    "documents": 2,
    "tokens_scored": 32,
    "nll": 1.5,
    "ppl": 4.4817,
    "bits_per_byte": 0.7,
    "ci95": [1.4, 1.6],
    "ci95_over": "documents",
    "seconds": 0.5,
    "peak_memory_bytes": None,
    "status": "ok",
    "reason": None,
}
NOTHING = dict.fromkeys(("nll", "ppl", "bits_per_byte", "ci95", "documents", "tokens_scored"))


def document(*cells: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "tiny",
        "trained_length": 32,
        "protocol": "tail",
        "run_dir": "ropewalk-runs/tiny-tail",
        "cells": list(cells),
    }


class FakeApi:
    """The functions of ``ropewalk.api``, remembering what they were asked."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def compare(self, *given: Any, **named: Any) -> SimpleNamespace:
        self.asked.append(("compare", given, named))
        job = SimpleNamespace(
            method=SimpleNamespace(text="none"), split=SimpleNamespace(name="full"), lengths=(64,)
        )
        progress = named["progress"]
        progress.planned(10.0)
        progress.started(job, 10.0)
        progress.advanced(job, 10.0)
        progress.finished(SimpleNamespace())
        return SimpleNamespace(document=self.answer)

    def plan_compare(self, *given: Any, **named: Any) -> SimpleNamespace:
        self.asked.append(("plan_compare", given, named))
        return SimpleNamespace(document=self.answer)

    def inspect(self, *given: Any, **named: Any) -> dict[str, Any]:
        self.asked.append(("inspect", given, named))
        return self.answer

    @contextmanager
    def extend(self, *given: Any, **named: Any) -> Iterator[None]:
        self.asked.append(("extend", given, named))
        yield


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """In place of the real functions, for what the command line asks of them."""
    fake = FakeApi(document(CELL))
    for name in ("compare", "plan_compare", "inspect", "extend"):
        monkeypatch.setattr(f"ropewalk.api.{name}", getattr(fake, name))
    return fake


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama of 64 words, saved with its tokenizer; weights of ordinary size."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.5,
        eos_token_id=None,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {f"w{i}": i for i in range(63)} | {"[UNK]": 63}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder


def one_error(captured: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; standard output must be empty."""
    output, error = captured.readouterr()
    assert output == ""
    lines = error.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def in_process(*arguments: str, **environment: str) -> tuple[int, str, str, float]:
    """Exit status, standard output, standard error and seconds of a real command."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "ropewalk", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - started


def raiser(error: BaseException) -> Any:
    """A function of any arguments that raises ``error``."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text('{"rope_theta": 10000.0}')
    return str(path)


# The whole


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in ("compare", "inspect", "generate"))


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    expected = capsys.readouterr().out
    assert main([]) == 0
    assert capsys.readouterr().out == expected


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ropewalk {ropewalk.__version__}\n"


@pytest.mark.parametrize("command", ["compare", "inspect", "generate"])
def test_help_of_a_command_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\n    ropewalk {command}" in text
    assert "--json" in text


@pytest.mark.parametrize("spec", SPEC_EXAMPLES)
def test_the_specs_in_the_help_are_real(spec: str) -> None:
    geometry = RopeGeometry(head_dim=64, rope_theta=1e4, trained_length=2048)
    assert ropewalk.encoding(spec, geometry).geometry == geometry


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["compre"], "No such command 'compre'"),
        (["compare", "--lenght", "64"], "No such option"),
        (["compare", "--protocol", "tale"], "tale"),
        (["compare", "--dtype", "float8"], "float8"),
        (["compare", "--windows", "0"], "--windows"),
        (["compare", "--windows", "many"], "--windows"),
        (["inspect"], "Missing argument"),
        (["generate", "m", "--prompt", "a", "--max-new-tokens", "0"], "--max-new-tokens"),
        (["generate", "m", "--prompt", "a", "--temperature", "-1"], "--temperature"),
        (["compare", "a", "b"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    line = one_error(capsys)
    assert expected in line
    assert "--help" in line


def test_an_error_of_several_lines_becomes_one(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(RopewalkError("given\n  expected;\nremedy")))
    assert main(["inspect", config]) == 2
    assert one_error(capsys) == "error: given expected; remedy"


def test_an_interrupt_says_how_to_go_on(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(KeyboardInterrupt()))
    assert main(["inspect", config]) == 130
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("interrupted: a run folder keeps its finished cells")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "cells/a"), "cells/a: the disk is full"),
        (OSError(errno.EACCES, "Permission denied", "cells/a"), "cells/a: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    config: str,
    error: OSError,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(error))
    assert main(["inspect", config]) == 2
    assert expected in one_error(capsys)


def test_a_defect_of_ours_is_not_dressed_up_as_bad_input(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["inspect", config])


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ropewalk", "compare", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""


# Bad input, in a process of its own


@pytest.mark.parametrize("command", [["inspect"], ["compare"], ["generate", "--prompt=a"]])
@pytest.mark.parametrize("source", ["./nothing", "a/b/c", "nothing.gguf", "two words"])
def test_a_source_that_is_none_is_answered_at_once(command: list[str], source: str) -> None:
    status, output, error, seconds = in_process(*command, source)
    assert (status, output) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert source in error
    assert seconds < 3


@pytest.mark.slow
def test_offline_a_hub_id_is_answered_in_one_line(tmp_path: Path) -> None:
    status, output, error, _ = in_process(
        "generate", "someone/model", "--prompt=a", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)
    )
    assert (status, output) == (2, "")
    assert error.startswith("error: someone/model: no such folder, not in the local hub cache")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_broken_config_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{")
    status, output, error, _ = in_process("generate", str(tmp_path), "--prompt=a")
    assert (status, output) == (2, "")
    assert error.startswith(f"error: {path}: not JSON")
    assert error.count("\n") == 1


# Lengths


@pytest.mark.parametrize(
    ("text", "expected"), [("256", 256), ("2", 2), ("2x", "2x"), ("0.5x", "0.5x"), ("10x", "10x")]
)
def test_lengths_are_tokens_or_multiples(text: str, expected: int | str) -> None:
    assert read_length(text) == expected


@pytest.mark.parametrize("text", ["0", "1", "-5", "1.5", "x", "2y", "", "1e3", "٣", "2x2", " 64"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(RopewalkError, match="--length"):
        read_length(text)


# inspect


def inspection(pairs: int, *, outside_from: int) -> dict[str, Any]:
    return {
        "head_dim": 2 * pairs,
        "rotary_dim": 2 * pairs,
        "rope_theta": 10000.0,
        "trained_length": 4096,
        "method": "native",
        "context_length": 16384,
        "inv_freq": [2.0**-i for i in range(pairs)],
        "attention_factor": 1.0,
        "logit_scale": float("inf"),
        "softmax_scale": 0.125,
        "safe_length": None,
        "rotates": True,
        "layers": [],
        "pairs": [
            {
                "pair": i,
                "inv_freq": 2.0**-i,
                "wavelength": 6.28 * 2**i,
                "turns_in_training": 652.0 / 2**i,
                "largest_trained_angle": 4095.0 / 2**i,
                "largest_angle": 16383.0 / 2**i,
                "out_of_range": i >= outside_from,
            }
            for i in range(pairs)
        ],
    }


def test_inspect_passes_everything_on(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = inspection(4, outside_from=3)
    options = ["--length", "64", "--method", "yarn:factor=4", "--layer-type", "full_attention"]
    assert main(["inspect", config, *options, "--json"]) == 0
    named = {"context_length": 64, "method": "yarn:factor=4", "layer_type": "full_attention"}
    assert api.asked == [("inspect", (config,), named)]
    printed = json.loads(capsys.readouterr().out)
    assert printed == {**api.answer, "logit_scale": None}  # JSON has no infinity


def test_inspect_takes_a_multiple_of_the_trained_length(api: FakeApi, config: str) -> None:
    api.answer = inspection(4, outside_from=3)
    assert main(["inspect", config, "--length", "1.5x", "--json"]) == 0
    assert api.asked == [
        ("inspect", (config,), {"context_length": "1.5x", "method": None, "layer_type": None})
    ]


def test_inspect_prints_the_telling_pairs_of_a_long_table(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = inspection(64, outside_from=30)
    assert main(["inspect", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["trained", "length", "4,096"] for line in lines)
    rows = {line.split()[0]: line.rstrip() for line in lines if line.strip()[:1].isdigit()}
    # The ends, the first pair without a full turn (652 / 2^10 < 1), the first one outside.
    ends, full_turn, outside = (0, 1, 2, 61, 62, 63), (8, 9, 10, 11), (28, 29, 30, 31)
    assert {int(name) for name in rows if int(name) < 64} >= {*ends, *full_turn, *outside}
    assert not {"5", "20", "45"} & rows.keys()
    assert [line.strip() for line in lines].count("...") == 3
    assert rows["30"].endswith("outside")
    assert not rows["29"].endswith("outside")
    assert any(line.startswith("34 of 64 pairs reach angles") for line in lines)


def test_inspect_prints_all_of_a_short_table(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = inspection(5, outside_from=5)
    assert main(["inspect", config]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "..." not in lines
    assert [line.split()[0] for line in lines if line[:1].isdigit()][:5] == list("01234")


# compare


def test_compare_passes_everything_on(
    api: FakeApi, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.txt"
    book.write_text("words")
    options = ["--method=none", "--method=yarn", "--length=64", "--length=2x", f"--text={book}"]
    options += ["--protocol=sliding", "--mode=full", "--mode=chunked:7", f"--out={tmp_path}"]
    options += [
        "--windows=3",
        "--tail-tokens=5",
        "--stride=9",
        "--dtype=float64",
        "--device=cpu",
        "--batch=4",
    ]
    options += ["--bos", "never", "--json"]
    assert main(["compare", str(tiny), *options]) == 0
    ((name, given, named),) = api.asked
    assert (name, given) == ("compare", (str(tiny),))
    del named["progress"]
    assert isinstance(named.pop("executor"), SerialExecutor)
    assert named == {
        "methods": ["none", "yarn"],
        "lengths": [64, "2x"],
        "texts": [book],
        "protocol": "sliding",
        "modes": ["full", "chunked:7"],
        "out": tmp_path,
        "windows": 3,
        "tail_tokens": 5,
        "stride": 9,
        "dtype": "float64",
        "device": "cpu",
        "bos": "never",
        "batch": 4,
    }
    output, error = capsys.readouterr()
    assert json.loads(output) == api.answer
    assert error == ""


def test_compare_leaves_what_was_not_given_to_the_library(api: FakeApi, tiny: Path) -> None:
    assert main(["compare", str(tiny), "--json"]) == 0
    named = api.asked[0][2]
    assert named["out"] == Path("ropewalk-runs/tiny-tail")
    assert [named[key] for key in ("methods", "lengths", "texts", "modes")] == [[], [], [], []]
    assert [named[key] for key in ("windows", "tail_tokens", "stride")] == [None, None, None]


def test_a_hub_id_names_one_folder(api: FakeApi) -> None:
    assert main(["compare", "someone/model", "--protocol", "curve", "--json"]) == 0
    assert api.asked[0][2]["out"] == Path("ropewalk-runs/someone--model-curve")


def test_compare_prints_a_table_a_sentence_and_the_folder(
    api: FakeApi, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = document(CELL, {**CELL, "length": 32, "ppl": 3.3201, "nll": 1.2})
    assert main(["compare", str(tiny)]) == 0
    output, error = capsys.readouterr()
    assert error == ""
    assert "4.48" in output
    assert "3.32" in output
    assert "degrades" in output
    assert output.endswith("Run folder: ropewalk-runs/tiny-tail\n")


def test_compare_says_that_it_resumes(
    api: FakeApi, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert main(["compare", str(tiny), "--out", str(tmp_path), "--json"]) == 0
    output, error = capsys.readouterr()
    assert json.loads(output) == api.answer
    assert error == f"resuming {tmp_path}: finished cells are taken from it\n"


def test_a_dry_run_lists_cells_and_measures_nothing(
    api: FakeApi, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = {**CELL, **NOTHING, "status": "planned", "seconds": 12.5}
    failed = {**CELL, **NOTHING, "status": "failed", "reason": "too long", "seconds": None}
    api.answer = document(CELL, {**planned, "length": 128}, {**failed, "length": 4096})
    assert main(["compare", str(tiny), "--dry-run"]) == 0
    assert [name for name, _, _ in api.asked] == ["plan_compare"]
    output = capsys.readouterr().out
    assert "done" in output
    assert "12.5" in output
    assert "cannot run: too long" in output
    assert output.endswith("1 of 3 cells to run, about 12 s\n")


def test_a_comparison_in_which_no_cell_ran_is_bad_input(
    api: FakeApi, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = document({**CELL, **NOTHING, "status": "failed", "reason": "text too short"})
    assert main(["compare", str(tiny), "--json"]) == 2
    output, error = capsys.readouterr()
    assert json.loads(output) == api.answer
    assert error == "error: no cell could run: text too short\n"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--length=1", "at least 2"),
        ("--length=2y", "--length 2y"),
        ("--text=no.txt", "no such file"),
    ],
)
def test_compare_refuses_before_it_loads_anything(
    option: str, expected: str, api: FakeApi, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(tiny), option]) == 2
    assert expected in one_error(capsys)
    assert api.asked == []


def test_a_config_cannot_be_compared(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", config]) == 2
    assert "a config has no weights" in one_error(capsys)


# generate


def greedy(folder: Path, ids: list[int], count: int) -> list[int]:
    """The likeliest token each time, from full passes without a cache."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder).eval()
    for _ in range(count):
        with torch.no_grad():
            ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[-count:]


def test_generate_is_greedy_by_default(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = greedy(tiny, [5, 6, 7], 8)
    assert len(set(expected)) > 2  # a constant would prove little
    capsys.readouterr()
    options = ["--prompt", "w5 w6 w7", "--max-new-tokens", "8"]
    assert main(["generate", str(tiny), *options, "--json"]) == 0
    output, error = capsys.readouterr()
    words = " ".join("[UNK]" if i == 63 else f"w{i}" for i in expected)
    assert json.loads(output) == {
        "model": "tiny",
        "method": "native",
        "prompt": "w5 w6 w7",
        "text": words,
        "tokens": expected,
    }
    assert error == ""
    assert main(["generate", str(tiny), *options]) == 0
    output, error = capsys.readouterr()
    assert (output.strip(), error) == (words, "")


def test_sampling_follows_the_seed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def sample(*options: str) -> list[int]:
        assert main(["generate", str(tiny), "--prompt=w5", "--json", *options]) == 0
        return list(json.loads(capsys.readouterr().out)["tokens"])

    hot = ("--temperature=5", "--max-new-tokens=16")
    first = sample(*hot, "--seed=1")
    assert sample(*hot, "--seed=1") == first
    assert sample(*hot, "--seed=2") != first
    assert sample("--temperature=0.0001", "--max-new-tokens=8") == greedy(tiny, [5], 8)


def test_generate_puts_the_method_into_the_model(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def extend_with(model: Any, spec: Any) -> Any:
        asked.append((type(model).__name__, spec.text))
        return nullcontext()

    monkeypatch.setattr("ropewalk.integrations.session.extend_with", extend_with)
    options = ["--prompt=w5", "--method=yarn:factor=4", "--max-new-tokens=2", "--json"]
    assert main(["generate", str(tiny), *options]) == 0
    assert asked == [("LlamaForCausalLM", "yarn:factor=4")]
    assert json.loads(capsys.readouterr().out)["method"] == "yarn:factor=4"


def test_generate_needs_a_prompt_with_tokens(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(tiny), "--prompt", ""]) == 2
    assert "--prompt" in one_error(capsys)


def test_generate_needs_a_tokenizer(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    assert main(["generate", str(tmp_path), "--prompt", "w5"]) == 2
    assert "no tokenizer" in one_error(capsys)
