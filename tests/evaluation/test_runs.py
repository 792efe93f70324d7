"""Runs: interrupted anywhere they go on where they stopped, and nothing is measured twice."""

import json
import pickle
import shutil
import time
from dataclasses import replace
from mmap import mmap
from threading import Thread
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass
from ropewalk.evaluation.budget import Budget
from ropewalk.evaluation.cells import Failure, Measurement, Series
from ropewalk.evaluation.cost import CostModel, pass_cost
from ropewalk.evaluation.differences import differences
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.measure import dry_run, measure
from ropewalk.evaluation.memory import CudaMemory, ResidentMemory, meter_of
from ropewalk.evaluation.progress import Silent
from ropewalk.evaluation.protocols.curve import Curve
from ropewalk.evaluation.protocols.prefix import Prefix
from ropewalk.evaluation.protocols.protocol import OnePassPerLength, SharedPasses
from ropewalk.evaluation.protocols.sliding import Sliding
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.runs import NoStore, RunFolder, Store
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.worker import Worker

LENGTHS = (4, 8, 16)
RECORD = (
    "method", "mode", "length", "documents", "tokens_scored", "nll", "ppl", "bits_per_byte",
    "ci95", "ci95_over", "seconds", "peak_memory_bytes", "threads", "status", "reason",
)  # fmt: skip


def losses(ids: torch.Tensor, offset: float) -> torch.Tensor:
    """Of each token, from all before it. Eighths, so that sums of any order are exact."""
    before = ids.cumsum(0) - ids
    return ((7 * ids + 3 * before) % 101).double() / 8 + offset


class FakeModel:
    """Prefix-consistent. Counts its calls, and may raise at any of them. Source and session."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.fed: list[int] = []
        self.errors: dict[int, BaseException] = {}
        self.offset = 0.0
        self.opened: list[tuple[str, int]] = []

    def open(self):
        return self

    def use(self, method, length, split):
        self.opened.append((method.text, length))
        self.offset = float(len(method.canonical))
        return self

    def close(self):
        return None

    def token_losses(self, ids, first, split):
        self.fed.append(ids.shape[-1])
        if len(self.fed) in self.errors:
            raise self.errors[len(self.fed)]
        rows = [losses(row, self.offset)[first:] for row in torch.atleast_2d(ids)]
        return torch.stack(rows) if ids.ndim == 2 else rows[0]


class SizedModel(FakeModel):
    """Raises for sequences longer than fits."""

    def __init__(self, fits: int, error: BaseException) -> None:
        super().__init__()
        self.fits, self.error = fits, error

    def token_losses(self, ids, first, split):
        if len(ids) > self.fits:
            raise self.error
        return super().token_losses(ids, first, split)


class NarrowModel(FakeModel):
    """Raises for more sequences at once than fit."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.fits, self.batches = fits, []

    def token_losses(self, ids, first, split):
        self.batches.append(len(torch.atleast_2d(ids)))
        if self.batches[-1] > self.fits:
            raise MemoryError
        return super().token_losses(ids, first, split)


class WholeSequenceModel(FakeModel):
    """Not prefix-consistent: every loss depends on the length of its pass."""

    def token_losses(self, ids, first, split):
        return super().token_losses(ids, first, split) + len(ids)


def text(name: str, tokens: int) -> Document:
    generator = torch.Generator().manual_seed(tokens)
    ids = torch.randint(0, 50, (tokens,), generator=generator)
    return Document(name=name, ids=ids, byte_lengths=torch.full((tokens,), 3))


SETTING = Setting(
    model="fake",
    trained_length=8,
    weights="w0",
    dtype="float64",
    protocol=Tail(tokens=2, windows=2),
    documents=(text("a", 40), text("b", 50)),
    code_version="1",
)
CURVE = replace(SETTING, protocol=Curve(tokens=2, windows=2))


class CellMethod(NamedTuple):
    """What measuring asks of a method spec."""

    text: str
    canonical: str


def method(name: str) -> CellMethod:
    return CellMethod(text=name, canonical=f"{name}:all=1")


def series(name="none", lengths=LENGTHS, split=FullPass(), sharing=SharedPasses()):  # noqa: B008
    return Series(method=method(name), split=split, lengths=lengths, sharing=sharing)


def sizes(unit):
    return unit.values["loss"].denominator, unit.values["bits_per_byte"].denominator


TWO = (series("none"), series("linear:factor=2"))


def timeless(results):
    """Records without what differs from run to run."""
    varying = {"seconds": None, "peak_memory_bytes": None}
    return [{**result.record(), **varying} for result in results]


def run(setting, folder, model, asked=TWO, **options):
    return measure(setting, asked, model, RunFolder.open(folder, setting), **options)


def cell_files(folder):
    return sorted((folder / "cells").iterdir())


# What a cell is


@pytest.mark.parametrize("setting", [SETTING, CURVE], ids=["tail", "curve"])
def test_figures_are_sums_over_tokens(setting):
    (result,) = measure(setting, (series(lengths=(8,)),), FakeModel(), NoStore())
    record = result.record()
    total = 0.0
    for document in setting.documents:
        n = len(document)
        for j in range(2):
            start = n - j * (n // 4) - 8 if setting is SETTING else j * (n // 4)
            ids = document.ids[start : start + 8]
            total += losses(ids, len("none:all=1"))[6:].sum().item()
    assert tuple(record) == RECORD
    assert (record["documents"], record["tokens_scored"], record["status"]) == (2, 8, "ok")
    expected = torch.tensor([total / 8, 2 ** (total / 8 * 1.4426950408889634), total / 24])
    found = torch.tensor(
        [record["nll"], record["ppl"], record["bits_per_byte"] * 0.6931471805599453]
    )
    torch.testing.assert_close(found, expected)
    assert record["ci95"][0] <= record["nll"] <= record["ci95"][1]
    assert record["ci95_over"] == "documents"


@pytest.mark.parametrize("protocol", [Curve(tokens=2, windows=3), Prefix()])
def test_shared_passes_equal_separate_passes_of_a_prefix_consistent_model(protocol):
    setting = replace(SETTING, protocol=protocol)
    shared, apart = FakeModel(), FakeModel()
    one = measure(setting, (series(),), shared, NoStore())
    each = measure(setting, (series(sharing=OnePassPerLength()),), apart, NoStore())
    assert timeless(one) == timeless(each)
    assert [r.units for r in one] == [r.units for r in each]
    assert set(shared.fed) == {16}
    assert len(apart.fed) == 3 * len(shared.fed)
    assert shared.opened == [("none", 16)]


def test_a_method_that_sees_the_length_of_its_pass_needs_passes_of_its_own():
    shared = measure(CURVE, (series(),), WholeSequenceModel(), NoStore())
    each = (series(sharing=OnePassPerLength()),)
    apart = measure(CURVE, each, WholeSequenceModel(), NoStore())
    shift = [a.record()["nll"] - b.record()["nll"] for a, b in zip(shared, apart, strict=True)]
    assert shift == [16 - 4, 16 - 8, 0]


def test_sliding_sums_a_document_over_its_windows():
    setting = replace(SETTING, protocol=Sliding(stride=3, tokens=20))
    (result,) = measure(setting, (series(lengths=(5,)),), FakeModel(), NoStore())
    values = [(u.document, u.window, *sizes(u)) for u in result.units]
    assert values == [(0, 0, 19, 57), (1, 0, 19, 57)]


def test_results_come_in_the_order_asked_lengths_ascending():
    asked = (series("b", lengths=(8, 4, 8)), series("a", lengths=(4,), split=DecodePass()))
    results = measure(SETTING, asked, FakeModel(), NoStore())
    found = [(r.cell.method.text, r.cell.split.name, r.cell.length) for r in results]
    assert found == [("b", "full", 4), ("b", "full", 8), ("a", "decode", 4)]


def test_seconds_of_a_shared_pass_go_to_its_lengths_in_proportion():
    results = measure(CURVE, (series(),), FakeModel(), NoStore())
    seconds = [result.seconds for result in results]
    assert seconds[1] / seconds[0] == pytest.approx(2)
    assert seconds[2] / seconds[0] == pytest.approx(4)
    assert [r.peak_memory_bytes is None for r in results[:2]] == [True, True]


# Interruption


@pytest.mark.parametrize("setting", [SETTING, CURVE], ids=["tail", "curve"])
def test_a_run_killed_at_any_call_goes_on_and_measures_nothing_twice(setting, tmp_path):
    whole = FakeModel()
    expected = run(setting, tmp_path / "whole", whole)
    calls_of_a_job = 4
    for call in range(1, len(whole.fed) + 1):
        folder = tmp_path / str(call)
        killed, resumed, again = FakeModel(), FakeModel(), FakeModel()
        killed.errors[call] = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            run(setting, folder, killed)
        finished_jobs = (call - 1) // calls_of_a_job
        assert timeless(run(setting, folder, resumed)) == timeless(expected)
        assert len(resumed.fed) == len(whole.fed) - finished_jobs * calls_of_a_job
        assert timeless(run(setting, folder, again)) == timeless(expected)
        assert again.fed == []
        assert [f.suffix for f in cell_files(folder)] == [".json"] * len(expected)


class KilledStore(Store):
    """Interrupted instead of saving for the k-th time."""

    def __init__(self, inner: Store, saves: int) -> None:
        self.inner, self.left = inner, saves

    def load(self, setting, cell):
        return self.inner.load(setting, cell)

    def save(self, setting, result):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.inner.save(setting, result)


@pytest.mark.parametrize("saves", range(6))
def test_a_run_killed_between_the_cells_of_one_pass_computes_the_same(saves, tmp_path):
    # The model's losses depend on the length of the pass, as rounding does: a resumed run
    # has to feed the same passes for the cells that are missing.
    expected = measure(CURVE, TWO, WholeSequenceModel(), NoStore())
    folder = RunFolder.open(tmp_path, CURVE)
    with pytest.raises(KeyboardInterrupt):
        measure(CURVE, TWO, WholeSequenceModel(), KilledStore(folder, saves))
    assert len(cell_files(tmp_path)) == saves
    resumed = WholeSequenceModel()
    assert timeless(run(CURVE, tmp_path, resumed)) == timeless(expected)
    assert set(resumed.fed) == {16}


@pytest.mark.parametrize("missing", range(6))
def test_one_cell_that_is_missing_is_measured_in_the_pass_it_had(missing, tmp_path):
    log = Log()
    expected = run(CURVE, tmp_path, WholeSequenceModel())
    cell_files(tmp_path)[missing].unlink()
    resumed = WholeSequenceModel()
    assert timeless(run(CURVE, tmp_path, resumed, progress=log)) == timeless(expected)
    assert resumed.fed == [16] * 4
    assert len(log.cells) == len(expected)


def test_a_file_half_written_is_removed_and_the_run_goes_on(tmp_path, monkeypatch):
    expected = run(SETTING, tmp_path / "whole", FakeModel())
    folder = RunFolder.open(tmp_path / "full", SETTING)

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", disk_full)
        with pytest.raises(RopewalkError, match="No space left on device"):
            measure(SETTING, TWO, FakeModel(), folder)
    assert cell_files(tmp_path / "full") == []
    assert timeless(run(SETTING, tmp_path / "full", FakeModel())) == timeless(expected)


def test_more_lengths_and_methods_may_be_added_to_a_run(tmp_path):
    run(SETTING, tmp_path, FakeModel(), (series(lengths=(4,)),))
    more = FakeModel()
    results = run(SETTING, tmp_path, more, (series(lengths=(4, 8)), series("linear")))
    assert len(results) == 5
    assert more.opened == [("none", 8), ("linear", 4), ("linear", 8), ("linear", 16)]


def test_another_spelling_of_a_method_is_the_same_cell(tmp_path):
    run(SETTING, tmp_path, FakeModel(), (series("yarn"),))
    typed = CellMethod(text="yarn:factor=2", canonical=method("yarn").canonical)
    again = FakeModel()
    results = run(SETTING, tmp_path, again, (replace(series(), method=typed),))
    assert again.fed == []
    assert {result.record()["method"] for result in results} == {"yarn:factor=2"}


# Damage


def truncated(file, other):
    file.write_bytes(file.read_bytes()[:-20])


def emptied(file, other):
    file.write_bytes(b"")


def not_text(file, other):
    file.write_bytes(bytes(range(256)))


def of_another_cell(file, other):
    shutil.copy(other, file)


def without_units(file, other):
    file.write_text(json.dumps({**json.loads(file.read_text()), "units": []}))


def not_an_object(file, other):
    file.write_text("[1, 2]")


@pytest.mark.parametrize(
    "damage", [truncated, emptied, not_text, of_another_cell, without_units, not_an_object]
)
def test_a_damaged_cell_file_counts_as_absent(damage, tmp_path):
    expected = run(SETTING, tmp_path, FakeModel())
    first, second = cell_files(tmp_path)[:2]
    before = first.read_bytes()
    damage(first, second)
    again = FakeModel()
    assert timeless(run(SETTING, tmp_path, again)) == timeless(expected)
    assert len(again.fed) == 4
    same = [json.loads(content)["units"] for content in (before, first.read_bytes())]
    assert same[0] == same[1]


def test_every_part_of_the_key_makes_another_cell():
    cell = measure(SETTING, (series(lengths=(4,)),), FakeModel(), NoStore())[0].cell
    keys = {
        SETTING.key(cell).digest,
        replace(SETTING, weights="w1").key(cell).digest,
        replace(SETTING, dtype="bfloat16").key(cell).digest,
        replace(SETTING, code_version="2").key(cell).digest,
        replace(SETTING, protocol=Tail(tokens=3, windows=2)).key(cell).digest,
        CURVE.key(cell).digest,
        replace(SETTING, documents=SETTING.documents[:1]).key(cell).digest,
        SETTING.key(replace(cell, length=5)).digest,
        SETTING.key(replace(cell, split=ChunkedPass(3))).digest,
        SETTING.key(replace(cell, split=ChunkedPass(4))).digest,
        SETTING.key(replace(cell, method=method("linear"))).digest,
    }
    assert len(keys) == 11


# The folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code_version": "2"}, 'version "1": expected "2"'),
        ({"model": "other"}, 'model "fake": expected "other"'),
        ({"trained_length": 9}, "trained_length 8: expected 9"),
        ({"weights": "w1"}, "weights"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"protocol": Prefix()}, 'expected "prefix"'),
        ({"documents": (text("a", 41),)}, "documents"),
    ],
)
def test_a_folder_of_another_setting_is_refused(change, message, tmp_path):
    RunFolder.open(tmp_path, SETTING)
    with pytest.raises(RopewalkError, match=message):
        RunFolder.open(tmp_path, replace(SETTING, **change))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 99}', "format 99"),
        ('{"form', "cannot be read"),
        ("[]", "not the manifest"),
    ],
)
def test_a_folder_that_is_no_run_of_this_format_is_refused(content, message, tmp_path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RopewalkError, match=message):
        RunFolder.open(tmp_path, SETTING)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    file = tmp_path / "results"
    file.write_text("")
    with pytest.raises(RopewalkError, match="give another folder"):
        RunFolder.open(file, SETTING)


class RunsMeanwhile(Silent):
    """A second process does the whole run while the first is at its first job."""

    def __init__(self, folder) -> None:
        self.folder, self.model = folder, FakeModel()

    def started(self, job, cost):
        if not self.model.fed:
            run(SETTING, self.folder, self.model)


def test_what_another_process_finishes_meanwhile_is_not_measured_again(tmp_path):
    first, other = FakeModel(), RunsMeanwhile(tmp_path)
    results = run(SETTING, tmp_path, first, progress=other)
    assert timeless(results) == timeless(run(SETTING, tmp_path, FakeModel()))
    assert (len(first.fed), len(other.model.fed)) == (0, 24)


def test_two_runs_share_one_folder(tmp_path):
    expected = timeless(measure(SETTING, TWO, FakeModel(), NoStore()))
    found: list[list[dict]] = []
    threads = [
        Thread(target=lambda: found.append(timeless(run(SETTING, tmp_path, FakeModel()))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert [f.suffix for f in cell_files(tmp_path)] == [".json"] * 6


# Cells that cannot run


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
@pytest.mark.parametrize("setting", [SETTING, CURVE], ids=["tail", "curve"])
def test_where_memory_ends_the_shorter_lengths_are_still_measured(setting, error, tmp_path):
    results = run(setting, tmp_path, SizedModel(8, error), (series(),))
    *measured, failed = results
    assert timeless(measured) == timeless(
        measure(setting, (series(lengths=(4, 8)),), FakeModel(), NoStore())
    )
    assert isinstance(failed, Failure)
    assert failed.cell.length == 16
    assert failed.reason.startswith("out of memory")
    assert "\n" not in failed.reason
    record = failed.record()
    assert tuple(record) == RECORD
    assert {name for name in RECORD if record[name] is not None} == {
        "method", "mode", "length", "status", "reason",
    }  # fmt: skip


def test_where_memory_ends_fewer_sequences_go_at_once():
    narrow, plain = NarrowModel(2), FakeModel()
    wanted = (series(lengths=(8,)),)
    found = measure(SETTING, wanted, narrow, NoStore(), batch=8)
    assert timeless(found) == timeless(measure(SETTING, wanted, plain, NoStore()))
    refused = [count for count in narrow.batches if count > 2]
    assert refused == sorted(refused, reverse=True)
    assert len(refused) <= 2
    assert max(narrow.batches[len(refused) :]) == 2
    (failed,) = measure(SETTING, wanted, NarrowModel(0), NoStore(), batch=8)
    assert isinstance(failed, Failure)


def test_a_failed_cell_is_kept_and_tried_again(tmp_path):
    run(SETTING, tmp_path, SizedModel(8, MemoryError()), (series(),))
    kept = [json.loads(file.read_text())["record"]["status"] for file in cell_files(tmp_path)]
    assert sorted(kept) == ["failed", "ok", "ok"]
    more = FakeModel()
    results = run(SETTING, tmp_path, more, (series(),))
    assert all(isinstance(result, Measurement) for result in results)
    assert set(more.fed) == {16}


def test_a_length_that_the_text_lacks_fails_with_its_reason_and_the_others_run():
    results = measure(CURVE, (series(lengths=(2, 8, 33)),), FakeModel(), NoStore())
    assert [type(result) for result in results] == [Failure, Measurement, Failure]
    assert "above 2" in results[0].reason
    assert "'a' (40 tokens)" in results[2].reason


def test_a_method_that_cannot_be_opened_fails_with_its_reason():
    class Refuses(FakeModel):
        def use(self, method, length, split):
            raise RopewalkError("factor=0.5: expected at least 1")

    results = measure(SETTING, (series(),), Refuses(), NoStore())
    assert {result.reason for result in results} == {"factor=0.5: expected at least 1"}


def test_a_loss_that_is_not_finite_fails_its_cell():
    class Overflows(FakeModel):
        def token_losses(self, ids, first, split):
            return super().token_losses(ids, first, split) / (len(ids) < 16)

    results = measure(SETTING, (series(),), Overflows(), NoStore())
    assert [type(result) for result in results] == [Measurement, Measurement, Failure]
    assert "not finite" in results[2].reason


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), TypeError("a bug")])
def test_a_programming_error_is_not_a_failed_cell(error):
    model = FakeModel()
    model.errors[1] = error
    with pytest.raises(type(error), match=str(error)):
        measure(SETTING, (series(),), model, NoStore())


def test_a_model_that_returns_too_few_losses_is_reported():
    class Short(FakeModel):
        def token_losses(self, ids, first, split):
            return super().token_losses(ids, first + 1, split)

    with pytest.raises(TypeError, match="token_losses gave shape"):
        measure(SETTING, (series(),), Short(), NoStore())


def test_a_setting_needs_a_document():
    with pytest.raises(RopewalkError, match="no document"):
        replace(SETTING, documents=())


# Several sequences at once


@pytest.mark.parametrize("batch", [2, 3, 100])
@pytest.mark.parametrize("setting", [SETTING, CURVE], ids=["tail", "curve"])
def test_sequences_of_equal_length_go_through_together(setting, batch):
    alone, together = FakeModel(), FakeModel()
    expected = measure(setting, TWO, alone, NoStore())
    found = measure(setting, TWO, together, NoStore(), batch=batch)
    assert timeless(found) == timeless(expected)
    # Two documents of two windows each, in each set of passes: two batches of 2, 3 + 1, or one.
    assert len(together.fed) * {2: 2, 3: 2, 100: 4}[batch] == len(alone.fed)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(RopewalkError, match="batch=0: expected at least 1"):
        measure(SETTING, TWO, FakeModel(), NoStore(), batch=0)


def test_sequences_of_other_shapes_stay_apart():
    sliding = replace(SETTING, protocol=Sliding(stride=3, tokens=40))
    model = FakeModel()
    (result,) = measure(sliding, (series(lengths=(16,)),), model, NoStore(), batch=100)
    # Of each document the first window scores 15 tokens, the eight others 3 each.
    assert len(model.fed) == 4
    (alone,) = measure(sliding, (series(lengths=(16,)),), FakeModel(), NoStore())
    assert timeless([result]) == timeless([alone])


# Progress, dry runs, cost, memory, differences


class Log(Silent):
    def __init__(self) -> None:
        self.total, self.done, self.cells = 0.0, 0.0, []

    def planned(self, cost):
        self.total = cost

    def advanced(self, job, cost):
        self.done += cost

    def finished(self, result):
        self.cells.append(result.cell)


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


# A budget


def budget(seconds, seconds_per_token):
    return Budget(seconds, time.monotonic(), CostModel(seconds_per_token=seconds_per_token))


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


# Jobs


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
