"""Tasks in a comparison: their cells, resumed, budgeted, with their samples beside them."""

import json

import pytest

from ropewalk import api
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.reporting.found import retrieval_sentences
from ropewalk.reporting.tasks import context_gains, effective_length, reach, task_tables

REQUEST = {
    "methods": ["none", "linear"],
    "lengths": [64, 128],
    "tasks": ["induction", "key_value"],
    "trials": 4,
}
LOSS_FIELDS = ("documents", "tokens_scored", "nll", "ppl", "bits_per_byte")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return api.compare(out=tmp_path_factory.mktemp("run") / "tasks", **REQUEST)


def test_a_cell_is_one_method_mode_length_and_task(run):
    keys = [(each["task"], each["method"], each["length"]) for each in run.records]
    tasks, methods, lengths = REQUEST["tasks"], REQUEST["methods"], REQUEST["lengths"]
    assert keys == [(t, m, n) for t in tasks for m in methods for n in lengths]
    for record in run.records:
        assert record["status"] == "ok"
        assert (record["metric"], record["trials"]) == ("rank_1", 4)
        low, high = record["ci95"]
        assert 0 <= low <= record["value"] <= high <= 1
        assert not any(record[name] is not None for name in LOSS_FIELDS)
        assert record["generation"]["right"] + record["generation"]["wrong"] <= 4
        assert sum(depth["trials"] for depth in record["depths"]) == 4
        assert record["seconds"] > 0


def test_differences_to_the_baseline_are_by_task(run):
    found = [(each["task"], each["method"], each["length"]) for each in run.document["differences"]]
    assert found == [(t, "linear", n) for t in REQUEST["tasks"] for n in REQUEST["lengths"]]
    assert all(-1 <= each["value"] <= 1 for each in run.document["differences"])


def test_a_finished_cell_is_never_measured_again(run, monkeypatch):
    monkeypatch.setattr("ropewalk.integrations.scoring.TransformersScorer.read", None)
    again = api.compare(out=run.run_dir, **REQUEST)
    assert again.records == run.records
    with pytest.raises(TypeError):
        api.compare(out=run.run_dir, **{**REQUEST, "trials": 5})  # other samples, other cells


def test_samples_stand_beside_the_results(run):
    for task in REQUEST["tasks"]:
        for length in REQUEST["lengths"]:
            lines = (run.run_dir / "samples" / f"{task}-{length}.jsonl").read_text("utf-8")
            rows = [json.loads(line) for line in lines.splitlines()]
            assert [row["task"] for row in rows] == [task] * 4


def test_a_length_that_is_too_short_is_a_failed_cell_with_its_reason(tmp_path):
    request = {**REQUEST, "lengths": [16, 64], "tasks": ["loss", "passkey"], "windows": 2}
    run = api.compare(out=tmp_path / "run", **request)
    short = [each for each in run.records if "task" in each and each["length"] == 16]
    assert [each["status"] for each in short] == ["failed"] * 2
    assert all("passkey at length 16: " in each["reason"] for each in short)
    assert len([each for each in run.records if "task" not in each]) == 4


def test_what_does_not_fit_a_budget_is_skipped(tmp_path):
    run = api.compare(out=tmp_path / "run", budget=1e-6, **REQUEST)
    assert {each["status"] for each in run.records} == {"skipped"}
    assert {each["task"] for each in run.records} == set(REQUEST["tasks"])


def test_a_mistyped_task_is_told_before_a_model_is_loaded(tmp_path):
    with pytest.raises(RopewalkError, match="task needles: expected one of loss, longppl, needle"):
        api.compare("no such model", out=tmp_path / "run", tasks=["needles"])


def record(length, *shares, status="ok"):
    depths = [{"rank_1": share, "right": 0.0} for share in shares]
    return {"length": length, "status": status, "depths": depths}


def test_the_effective_length_is_the_largest_at_which_every_depth_is_retrieved():
    assert effective_length([record(512, 1.0, 0.9), record(256, 1.0, 1.0)]) == 512
    assert effective_length([record(512, 1.0, 0.8), record(256, 1.0, 1.0)]) == 256
    assert effective_length([record(256, 0.5, 1.0), record(512, 1.0, 1.0)]) is None
    assert effective_length([record(256, 1.0), record(512, status="failed")]) == 256


def test_an_effective_length_that_ends_where_nothing_was_measured_is_a_least_one():
    skipped = record(512, status="skipped")
    assert reach([record(256, 1.0), skipped]) == "256 or more"
    assert reach([record(256, 1.0), record(512, 0.5)]) == "256"
    assert reach([record(256, 1.0), record(512, 1.0)]) == "512"
    assert reach([record(256, 0.5), skipped]) == "-"
    assert reach([record(256, status="failed"), skipped]) == "?"


def test_a_sentence_names_the_methods_whose_longer_lengths_were_not_measured():
    lines = {"none": [record(256, 1.0), record(512, 1.0)], "yarn": [record(256, 1.0)]}
    lines["yarn"].append(record(512, status="skipped"))
    cells = [
        {**each, "task": "induction", "mode": "full", "method": method}
        for method, records in lines.items()
        for each in records
    ]
    assert retrieval_sentences({"cells": cells}) == [
        "Task induction: plain RoPE (none) retrieves at every depth up to 512 tokens. Longer "
        "lengths were not measured of yarn."
    ]


def test_effective_lengths_stand_in_the_document_by_task_method_and_mode(run):
    found = run.document["effective_lengths"]
    assert [(e["task"], e["method"], e["mode"]) for e in found] == [
        (task, method, "full") for task in REQUEST["tasks"] for method in REQUEST["methods"]
    ]
    assert all(e["length"] in (None, *REQUEST["lengths"]) for e in found)


def test_the_gain_of_a_stretch_of_context_is_what_it_adds_to_the_gain():
    cells = [
        {
            "task": "longppl",
            "method": method,
            "mode": "full",
            "length": length,
            "status": "ok",
            "longppl": {"gain": gain},
        }
        for method, gains in {"none": (0.5, -1.0), "yarn": (0.25, 0.5)}.items()
        for length, gain in zip((512, 256), reversed(gains), strict=True)
    ]
    found = [(e["method"], e["from"], e["to"], e["nats"]) for e in context_gains({"cells": cells})]
    assert found == [("none", 256, 512, -1.5), ("yarn", 256, 512, 0.25)]


def test_every_task_has_its_pictures(run):
    for task in REQUEST["tasks"]:
        assert (run.run_dir / f"task-{task}.png").read_bytes().startswith(b"\x89PNG")
        drawn = (run.run_dir / f"task-{task}.svg").read_text("utf-8")
        assert all(f"<!-- {word} -->" in drawn for word in ("none", "linear", "64", "128"))


def test_beside_the_demo_model_the_toy_model_retrieves_and_its_cells_say_so(tmp_path):
    asked = {"methods": ["none"], "lengths": [64], "trials": 2}
    found = api.compare(out=tmp_path / "run", windows=2, tail_tokens=8, **asked)
    (loss, task) = found.records
    assert "task" not in loss
    assert (task["task"], task["model"], task["status"]) == ("induction", "toy", "ok")
    planned = api.plan_compare(out=tmp_path / "run", windows=2, tail_tokens=8, **asked)
    assert [each["status"] for each in planned.records] == ["ok", "ok"]
    alone = api.compare(out=tmp_path / "alone", tasks=["loss"], windows=2, tail_tokens=8, **asked)
    assert len(alone.records) == 1


def test_a_table_a_task(run):
    titles = [str(table.title) for table in task_tables(run.document)]
    assert [title.split(",")[0] for title in titles] == ["Task induction", "Task key_value"]


def test_a_killed_cell_goes_on_after_its_last_whole_sample(tmp_path, monkeypatch):
    request = {**REQUEST, "methods": ["none"], "lengths": [64], "tasks": ["induction"]}
    whole = api.compare(out=tmp_path / "whole", **request)
    read, asked = TransformersScorer.read, []

    def dying(self, prompts, split):
        asked.append(len(prompts))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return read(self, prompts, split)

    monkeypatch.setattr(TransformersScorer, "read", dying)
    with pytest.raises(KeyboardInterrupt):
        api.compare(out=tmp_path / "killed", **request)
    again = api.compare(out=tmp_path / "killed", **request)
    assert asked == [1] * 5  # two, the one that died, and the two that were left
    for record in (*whole.records, *again.records):
        del record["seconds"], record["peak_memory_bytes"]
    assert again.records == whole.records


@pytest.mark.slow
def test_a_batch_of_samples_is_one_part(tmp_path):
    request = {**REQUEST, "methods": ["none"], "lengths": [64], "tasks": ["induction"]}
    alone = api.compare(out=tmp_path / "alone", **request).records[0]
    together = api.compare(out=tmp_path / "together", batch=3, **request).records[0]
    assert together["value"] == alone["value"]
    assert together["forced"]["loss"] == pytest.approx(alone["forced"]["loss"], abs=1e-5)


@pytest.mark.slow
def test_modes_feed_the_prompt_and_agree_for_a_static_method(tmp_path):
    modes = ["full", "stream", "decode", "chunked:24"]
    request = {**REQUEST, "lengths": [64], "tasks": ["key_value"], "modes": modes, "trials": 2}
    records = api.compare(out=tmp_path / "run", **request).records
    assert [each["mode"] for each in records] == [mode for mode in modes for _ in range(2)]
    for method in REQUEST["methods"]:
        losses = [each["forced"]["loss"] for each in records if each["method"] == method]
        assert losses == pytest.approx([losses[0]] * 4, abs=1e-5)
