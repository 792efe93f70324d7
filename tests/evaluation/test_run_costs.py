"""What a run takes: progress, dry runs, memory, budgets; differences and jobs."""

import pickle
import time
from dataclasses import replace
from mmap import mmap
from types import SimpleNamespace

import pytest
import torch
from fake_models import (
    LENGTHS,
    RECORD,
    SETTING,
    TWO,
    FakeModel,
    Log,
    cell_files,
    run,
    series,
    timeless,
)

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass
from ropewalk.evaluation.budget import Budget
from ropewalk.evaluation.cost import CostModel, pass_cost
from ropewalk.evaluation.differences import differences
from ropewalk.evaluation.measure import dry_run, measure
from ropewalk.evaluation.memory import CudaMemory, ResidentMemory, meter_of
from ropewalk.evaluation.progress import Silent
from ropewalk.evaluation.protocols.curve import Curve
from ropewalk.evaluation.runs import NoStore, RunFolder
from ropewalk.evaluation.worker import Worker

CURVE = replace(SETTING, protocol=Curve(tokens=2, windows=2))


# Progress, dry runs, cost, memory, differences.


@pytest.mark.parametrize("setting", [SETTING, CURVE], ids=["tail", "curve"])
def test_progress_reaches_the_planned_cost_and_reports_each_cell_once(setting, tmp_path):
    log, later = Log(), Log()
    results = run(setting, tmp_path, FakeModel(), progress=log)
    assert log.done == pytest.approx(log.total)
    assert log.total > 0
    assert sorted(map(repr, log.cells)) == sorted(repr(result.cell) for result in results)
    run(setting, tmp_path, FakeModel(), progress=later)
    assert later.total == 0
    assert len(later.cells) == len(results)


def test_a_dry_run_names_cells_and_seconds_and_runs_nothing(tmp_path):
    store = RunFolder.open(tmp_path, SETTING)
    measure(SETTING, (series(lengths=(4,)),), FakeModel(), store)
    cost = CostModel(seconds_per_token=2.0)
    asked = (series(lengths=(4, 8, 16, 99)),)
    planned = dry_run(SETTING, asked, FakeModel(), store, cost)
    records = [result.record() for result in planned]
    assert [record["status"] for record in records] == ["ok", "planned", "planned", "failed"]
    # 2 documents with 2 windows each, one pass a window.
    assert records[1]["seconds"] == pytest.approx(2 * 4 * pass_cost(8, FullPass()))
    assert tuple(records[1]) == RECORD
    assert len(cell_files(tmp_path)) == 1


def test_a_dry_run_of_shared_passes_counts_each_pass_once():
    cost = CostModel(seconds_per_token=1.0)
    planned = dry_run(CURVE, (series(),), FakeModel(), NoStore(), cost)
    total = sum(result.record()["seconds"] for result in planned)
    assert total == pytest.approx(4 * pass_cost(16, FullPass()))


def test_cost_grows_with_attention_and_with_calls_and_meets_its_calibration():
    timed = CostModel.calibrated(tokens=1000, seconds=5.0)
    assert timed.seconds(pass_cost(1000, FullPass())) == pytest.approx(5.0)
    assert pass_cost(8000, FullPass()) > 8 * pass_cost(1000, FullPass())
    assert (
        pass_cost(512, DecodePass())
        > pass_cost(512, ChunkedPass(64))
        > pass_cost(512, ChunkedPass(512))
        == pass_cost(512, FullPass())
    )
    with pytest.raises(RopewalkError, match="above zero"):
        CostModel.calibrated(tokens=10, seconds=0.0)


MEBIBYTE = 2**20


def test_peak_memory_is_of_the_watched_work_alone():
    meter = ResidentMemory()
    with meter.watch() as large:
        # Pages of its own: an allocator may hand out what earlier tests gave back.
        pages = mmap(-1, 64 * MEBIBYTE)
        held = torch.frombuffer(pages, dtype=torch.uint8).fill_(1)
    del held
    pages.close()
    with meter.watch() as small:
        torch.ones(16, dtype=torch.uint8)
    if large.peak_bytes is None:
        pytest.skip("this system does not tell the resident size")
    assert 60 * MEBIBYTE < large.peak_bytes < 80 * MEBIBYTE
    assert small.peak_bytes < 16 * MEBIBYTE


def test_peak_memory_on_cuda_is_above_the_level_before(monkeypatch):
    calls = []
    levels = {"memory_allocated": 700, "max_memory_allocated": 1900}
    for name in ("synchronize", "reset_peak_memory_stats", *levels):
        monkeypatch.setattr(
            torch.cuda, name, lambda device, name=name: calls.append(name) or levels.get(name)
        )
    meter = meter_of(torch.device("cuda", 0))
    assert isinstance(meter, CudaMemory)
    with meter.watch() as reading:
        calls.append("work")
    assert reading.peak_bytes == 1200
    before, after = calls[: calls.index("work")], calls[calls.index("work") + 1 :]
    assert before == ["synchronize", "reset_peak_memory_stats", "memory_allocated"]
    assert after == ["synchronize", "max_memory_allocated"]
    assert isinstance(meter_of(torch.device("cpu")), ResidentMemory)


def test_peak_memory_is_unknown_where_the_system_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr("ropewalk.evaluation.memory._STATM", tmp_path / "absent")
    with ResidentMemory().watch() as reading:
        pass
    assert reading.peak_bytes is None


def test_differences_are_paired_with_the_baseline_of_the_same_mode_and_length():
    asked = (*TWO, series("linear:factor=2", split=DecodePass()))
    results = measure(SETTING, asked, FakeModel(), NoStore())
    found = differences(results, "none")
    shift = float(len("linear:factor=2") - len("none"))
    assert [(d["method"], d["mode"], d["length"]) for d in found] == [
        ("linear:factor=2", "full", n) for n in LENGTHS
    ]
    assert [d["nll"] for d in found] == pytest.approx([shift] * 3)
    assert found[0]["ci95"] == pytest.approx([shift, shift])


def budget(seconds, seconds_per_token):
    return Budget(seconds, time.monotonic(), CostModel(seconds_per_token=seconds_per_token))


# A budget.


def test_of_a_budget_the_cheapest_cells_come_first(tmp_path):
    asked, model = (series("none"), series("linear", lengths=(2, 4, 32))), FakeModel()
    plenty = run(SETTING, tmp_path / "plenty", model, asked, budget=budget(1e9, 1.0))
    assert [length for _, length in model.opened] == [4, 4, 8, 16]
    assert timeless(plenty) == timeless(run(SETTING, tmp_path / "all", FakeModel(), asked))


def test_cells_that_do_not_fit_a_budget_are_shown_and_measured_later(tmp_path):
    results = run(SETTING, tmp_path, FakeModel(), (series(),), budget=budget(60, 9.0))
    records = [result.record() for result in results]
    assert [record["status"] for record in records] == ["skipped"] * 3
    assert {each["reason"] for each in records} == {
        "did not fit the budget of 60 s; run again to go on"
    }
    assert records[1]["seconds"] == pytest.approx(9 * 4 * pass_cost(8, FullPass()))
    assert tuple(records[0]) == RECORD
    assert cell_files(tmp_path) == []
    later = run(SETTING, tmp_path, FakeModel(), (series(),))
    assert [result.record()["status"] for result in later] == ["ok"] * 3


def test_a_budget_learns_what_a_method_costs_from_its_shorter_lengths(monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0])
    monkeypatch.setattr("ropewalk.evaluation.budget.time", clock)
    monkeypatch.setattr("ropewalk.evaluation.worker.time", clock)

    class Slow(FakeModel):
        def token_losses(self, ids, first, split):
            now[0] += len(ids) * (10.0 if self.opened[-1][0] == "slow" else 1e-3)
            return super().token_losses(ids, first, split)

    limit = Budget(700.0, 0.0, CostModel(seconds_per_token=1e-3))
    results = measure(SETTING, (series("slow"), series("fast")), Slow(), NoStore(), budget=limit)
    # Of "slow", 4 windows of 4 and 8 tokens take 480 s; those of 16 would take 640 s more.
    statuses = [result.record()["status"] for result in results]
    assert statuses == ["ok", "ok", "skipped", "ok", "ok", "ok"]


def test_of_shared_passes_the_lengths_that_fit_are_measured():
    limit = budget(4 * pass_cost(8, FullPass()) + 1, 1.0)
    results = measure(CURVE, (series(),), FakeModel(), NoStore(), budget=limit)
    assert [result.record()["status"] for result in results] == ["ok", "ok", "skipped"]
    expected = measure(CURVE, (series(lengths=(4, 8)),), FakeModel(), NoStore())
    assert timeless(results[:2]) == timeless(expected)


# Jobs.


def test_methods_have_lengths_of_their_own():
    asked = (series("none", lengths=(4, 16)), series("linear", lengths=(8,)))
    results = measure(SETTING, asked, FakeModel(), NoStore())
    assert [(r.cell.method.text, r.cell.length) for r in results] == [
        ("none", 4), ("none", 16), ("linear", 8),
    ]  # fmt: skip


class Elsewhere:
    """An executor whose jobs and results are sent as bytes, and end in another order."""

    def order(self, jobs):
        return jobs

    def run(self, jobs, progress):
        sent = [pickle.dumps(job) for job in jobs]
        for each in reversed(sent):
            with Worker(Silent()) as worker:
                yield pickle.loads(pickle.dumps(worker.measure(pickle.loads(each))))


def test_jobs_are_plain_data_and_their_results_are_kept_by_who_asked(tmp_path):
    elsewhere = run(SETTING, tmp_path, FakeModel(), executor=Elsewhere())
    assert timeless(elsewhere) == timeless(run(SETTING, tmp_path / "here", FakeModel()))
    again = FakeModel()
    assert timeless(run(SETTING, tmp_path, again)) == timeless(elsewhere)
    assert again.fed == []
