"""Runs in a folder: killed, damaged, shared, and of one setting."""

import json
import shutil
from dataclasses import replace
from threading import Thread

import pytest
from fake_models import (
    SETTING,
    TWO,
    CellMethod,
    FakeModel,
    Log,
    WholeSequenceModel,
    cell_files,
    method,
    run,
    series,
    text,
    timeless,
)

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.progress import Silent
from ropewalk.evaluation.protocols.curve import Curve
from ropewalk.evaluation.protocols.prefix import Prefix
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.runs import NoStore, RunFolder, Store

CURVE = replace(SETTING, protocol=Curve(tokens=2, windows=2))


# Interruption.


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


# Damage.


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


# The folder.


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
