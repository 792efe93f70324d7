"""A run for other programs: a model card, columns, and results of lm-evaluation-harness."""

import json
import math

import pytest

import ropewalk as rw
from reporting.run_folders import DEPTHS, document, loss_cell, task_cell, usual, write_run
from ropewalk.api.reporting import report_lm_eval
from ropewalk.core.errors import RopewalkError


def test_a_model_card_has_sentences_tables_and_the_way_it_was_measured(tmp_path):
    text = rw.report(write_run(tmp_path / "run", usual()), tmp_path / "card.md").read_text()
    assert text.startswith("## Context length: tiny\n")
    assert "(not worse: dual\\_chunk)" in text
    row = next(line for line in text.splitlines() if line.startswith("| `rerope` |"))
    assert row == "| `rerope` | 90.02 | **80.64** | **81.45** | **83.10** |"
    tie = next(line for line in text.splitlines() if line.startswith("| `dual_chunk` |"))
    assert tie.endswith("| **83.93** |")
    assert "Measured with Ropewalk 0.1.0 (0123456789ab)" in text
    assert "| `none` | 100% [80%, 100%]; 50% | 25% [5%, 45%]; 10% |" in text


def test_text_of_a_run_is_no_markdown(tmp_path):
    content = document(loss_cell("a|b`c", 256, 4.0), model="<b>*m*</b>")
    text = rw.report(write_run(tmp_path / "run", content), tmp_path / "card.md").read_text()
    assert "## Context length: \\<b>\\*m\\*\\</b>" in text
    assert "| `a\\|b'c` | 54.60 |" in text


def test_columns_hold_every_cell(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    content = usual()
    file = rw.report([write_run(tmp_path / n, content) for n in "ab"], tmp_path / "out.parquet")
    frame = pandas.read_parquet(file)
    assert len(frame) == 2 * len(content["cells"])
    assert list(frame["run"].unique()) == ["a", "b"]
    first = frame.iloc[0]
    assert (first["method"], first["task"], first["length"]) == ("none", "loss", 128)
    assert [first["nll"], first["ci95_low"], first["ci95_high"]] == [4.5, 4.4, 4.6]
    depths = json.loads(frame[frame["task"] == "induction"].iloc[0]["depths"])
    assert depths == content["cells"][len(content["cells"]) - 6]["depths"]


@pytest.mark.parametrize(("missing", "name"), [("pyarrow", "r.parquet"), ("jinja2", "r.html")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, missing, name):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(RopewalkError, match=r'pip install "ropewalk\[report\]"'):
        rw.report(write_run(tmp_path / "run", usual()), tmp_path / name)


def test_tasks_are_written_as_the_harness_writes_them(tmp_path):
    content = document(
        task_cell("none", 256, (1.0, 0.5, 0.5, 0.5, 0.0)),
        task_cell("yarn:factor=4", 256, (1.0,) * DEPTHS),
        loss_cell("none", 256, 4.0),
    )
    files = report_lm_eval(write_run(tmp_path / "run", content), tmp_path / "out")
    assert [str(file.relative_to(tmp_path / "out")) for file in files] == [
        "tiny__none/results_run.json",
        "tiny__yarn_factor=4/results_run.json",
    ]
    found = json.loads(files[0].read_text())
    figures = found["results"]["induction"]
    assert figures["256,full"] == 0.5
    # The standard error of a mean of 20 zeros and ones, half of each.
    assert figures["256_stderr,full"] == pytest.approx(math.sqrt(0.5 * 0.5 / 19))
    assert found["config"]["model_args"] == {"pretrained": "tiny", "method": "none"}
    assert found["git_hash"] == "0123456789abcdef"
    assert found["n-samples"]["induction"] == {"original": 20, "effective": 20}
    with pytest.raises(RopewalkError, match="compare --task"):
        report_lm_eval(
            write_run(tmp_path / "loss", document(loss_cell("none", 256, 4.0))), tmp_path
        )


def test_two_runs_of_one_name_are_not_written_over_one_another(tmp_path):
    """Nor is anything written of the first one."""
    content = document(task_cell("none", 256, (1.0,) * 5))
    runs = [write_run(tmp_path / each / "run", content) for each in ("a", "b")]
    with pytest.raises(RopewalkError, match="for two run folders named run: expected different"):
        report_lm_eval(runs, tmp_path / "out")
    bare = write_run(tmp_path / "loss", document(loss_cell("none", 256, 4.0)))
    with pytest.raises(RopewalkError, match="loss has no measured cell of a task"):
        report_lm_eval([runs[0], bare], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_toy_s_cells_are_not_told_of_the_demo(tmp_path):
    cells = [loss_cell("none", 256, 4.0), task_cell("none", 256, (1.0,) * 5) | {"model": "toy"}]
    run = write_run(tmp_path / "run", document(*cells, model="demo"))
    (file,) = report_lm_eval(run, tmp_path / "out")
    assert file.parent.name == "toy__none"
    found = json.loads(file.read_text())
    assert found["model_name"] == found["config"]["model_args"]["pretrained"] == "toy"
    assert found["config"]["model_sha"] is None
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(rw.report(run, tmp_path / "cells.parquet"))
    assert list(frame["model"]) == ["demo", "toy"]
    card = rw.report(run, tmp_path / "card.md").read_text()
    assert "\nOf model toy. Task induction, mode full" in card


def test_what_is_no_finished_run_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(RopewalkError, match="no such folder"):
        rw.report(tmp_path / "nowhere", tmp_path / "a.html")
    with pytest.raises(
        RopewalkError, match=r"expected a run folder of compare, with results\.json"
    ):
        rw.report(tmp_path, tmp_path / "a.html")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RopewalkError, match="the same `ropewalk compare` command again"):
        rw.report(tmp_path, tmp_path / "a.html")
    (tmp_path / "results.json").write_text("[1")
    with pytest.raises(RopewalkError, match="not JSON"):
        rw.report(tmp_path, tmp_path / "a.html")
    with pytest.raises(RopewalkError, match=r"\.html, \.md or \.parquet"):
        rw.report(write_run(tmp_path / "run", usual()), tmp_path / "a.pdf")
    with pytest.raises(RopewalkError, match="at least one run folder"):
        rw.report([], tmp_path / "a.html")
