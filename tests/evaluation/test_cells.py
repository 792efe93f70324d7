"""Cells: what a figure is, what fails, and several sequences at once."""

import json
from dataclasses import replace

import pytest
import torch
from fake_models import (
    RECORD,
    SETTING,
    TWO,
    FakeModel,
    WholeSequenceModel,
    cell_files,
    losses,
    run,
    series,
    timeless,
)

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import DecodePass
from ropewalk.evaluation.cells import Failure, Measurement
from ropewalk.evaluation.measure import measure
from ropewalk.evaluation.protocols.curve import Curve
from ropewalk.evaluation.protocols.prefix import Prefix
from ropewalk.evaluation.protocols.protocol import OnePassPerLength
from ropewalk.evaluation.protocols.sliding import Sliding
from ropewalk.evaluation.runs import NoStore


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


CURVE = replace(SETTING, protocol=Curve(tokens=2, windows=2))


def sizes(unit):
    return unit.values["loss"].denominator, unit.values["bits_per_byte"].denominator


# What a cell is.


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


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


# Cells that cannot run.


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


# Several sequences at once.


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
