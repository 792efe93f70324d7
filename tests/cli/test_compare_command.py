"""compare and generate: what each asks of the library, what it prints."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import CELL, FakeApi, document, one_error

from ropewalk.cli.main import main
from ropewalk.evaluation.executor import SerialExecutor

NOTHING = dict.fromkeys(("nll", "ppl", "bits_per_byte", "ci95", "documents", "tokens_scored"))


# compare.


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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--executor", "rey"], "expected serial, ray, or ray:ADDRESS"),
        (["--executor", "ray:"], "expected serial, ray, or ray:ADDRESS"),
        (["--workers", "4"], "the serial executor has one"),
    ],
)
@pytest.mark.parametrize("way", [[], ["--dry-run"]])
def test_a_mistyped_executor_is_told_by_a_dry_run_too(
    options: list[str],
    expected: str,
    way: list[str],
    api: FakeApi,
    tiny: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", str(tiny), *options, *way]) == 2
    assert expected in one_error(capsys)
    assert api.asked == []


@pytest.mark.parametrize("seconds", ["0", "-5", "nan"])
@pytest.mark.parametrize("way", [[], ["--dry-run"]])
def test_a_budget_of_nothing_is_refused(
    seconds: str, way: list[str], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", str(tiny), f"--budget={seconds}", "--out", str(tmp_path / "run"), *way]
    assert main(words) == 2
    assert "expected seconds above 0" in one_error(capsys)
    assert not (tmp_path / "run").exists()


def test_a_config_cannot_be_compared(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", config]) == 2
    assert "a config has no weights" in one_error(capsys)


def greedy(folder: Path, ids: list[int], count: int) -> list[int]:
    """The likeliest token each time, from full passes without a cache."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder).eval()
    for _ in range(count):
        with torch.no_grad():
            ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[-count:]


# generate.


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
