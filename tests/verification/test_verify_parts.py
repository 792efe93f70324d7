"""Parts of verify: tolerances, calls, and what is asked for."""

import pytest
import torch
from torch.testing import assert_close
from verified_models import LENGTH, SHORT, Heard, by_method, figure, predictor, small, statuses

import ropewalk as rw
from recipes.families.sharpened import L0, logits
from ropewalk.api.verification import verify_stock
from ropewalk.integrations.methods import TransformersMethods
from ropewalk.verification.checks import (
    CHECKS,
    Reference,
    Sample,
    decoding_calls,
    rounding,
    uneven_calls,
)
from ropewalk.verification.gap import Gap
from ropewalk.verification.verdicts import Gaps, Tolerances

IDS, INF = torch.tensor([5]), float("inf")


def gap(differences, positions=None, largest=10.0):
    differences = torch.tensor(differences, dtype=torch.float64)
    return Gap(
        way="a way",
        positions=torch.arange(len(differences)) if positions is None else torch.tensor(positions),
        logit_differences=differences,
        total_variations=differences / 100,
        largest_logit=largest,
    )


# Parts.


@pytest.mark.parametrize(
    ("dtype", "differences", "expected"),
    [
        (torch.float64, [0.0, 0.0], 1e-8),
        (torch.float32, [0.0, 1e-5], 1e-3),
        (torch.float32, [1e-4, 0.0], 2e-3),
        (torch.bfloat16, [0.0], 0.5),
    ],
)
def test_the_tolerance_is_twenty_gaps_or_the_floor_of_the_dtype(dtype, differences, expected):
    yardstick = Gaps(by_check={"decode": gap(differences)}, rounding=lambda: 1e-6)
    allowed = Tolerances.of(yardstick, dtype, L0).by_check["decode"]
    assert_close(allowed, expected, rtol=1e-12, atol=0)


def decode_record(found, rounded=1e-6):
    tolerances = Tolerances(by_check={"decode": 0.1}, rounding=1e-6, trained_length=L0)
    gaps = Gaps(by_check={"decode": found}, rounding=lambda: rounded)
    (record,) = tolerances.records("yarn", gaps, "failed")
    return record


def test_a_record_tells_the_first_position_above_the_tolerance():
    record = decode_record(gap([0.1, 0.0, 0.5, 0.3], positions=[30, 31, 33, 32]))
    assert record["status"] == "failed"
    assert record["max_logit_difference"] == 0.5
    assert record["max_total_variation"] == 0.005
    assert "first at position 32 (trained length 32)" in record["sentence"]
    assert decode_record(gap([0.1]))["status"] == "ok"
    assert decode_record(gap([torch.inf]))["status"] == "failed"


@pytest.mark.parametrize(
    ("rounding", "tolerance"),
    [(0.0, 0.1), (5e-7, 0.1), (1e-6, 0.1), (3e-6, 0.3), (float("nan"), 0.1), (INF, 0.1)],
)
def test_a_model_that_amplifies_rounding_more_than_the_yardstick_may_differ_more(
    rounding, tolerance
):
    record = decode_record(gap([0.2]), rounding)
    assert_close(record["tolerance"], tolerance, rtol=1e-12, atol=0)
    assert record["status"] == ("ok" if tolerance > 0.2 else "failed")


def test_rounding_is_what_embeddings_one_rounding_away_do():
    """The same by hand, from embeddings that a caller gives."""
    model = small(dtype=torch.float32)
    local = predictor(model)
    sample = Sample.of(local, LENGTH)
    found = rounding(local, Reference(local, sample)).max_logit_difference
    generator = torch.Generator().manual_seed(0)
    states = model.get_input_embeddings()(sample.long[None]).detach()
    signs = torch.randint(0, 2, states.shape, generator=generator) * 2 - 1
    with torch.no_grad():
        moved = model(inputs_embeds=states * (1 + signs * 2.0**-23), use_cache=False).logits
    expected = float((moved - logits(model, sample.long[None])).abs().max())
    assert 0 < found < 1e-3
    assert_close(found, expected, rtol=0.2, atol=0)


def test_rows_of_both_sequences_of_a_batch_are_compared_at_their_own_positions(dynamic, sample):
    positions = CHECKS["padded"](Reference(predictor(dynamic), sample)).positions
    assert positions.tolist() == [*range(SHORT), *range(LENGTH)]


def test_a_batch_is_run_without_and_with_position_ids(dynamic, sample):
    reference, seen = Reference(predictor(dynamic), sample), []

    def see(module, args, inputs):
        if inputs.get("attention_mask") is not None:
            seen.append(inputs.get("position_ids"))

    handle = dynamic.model.register_forward_pre_hook(see, with_kwargs=True)
    CHECKS["padded"](reference)
    handle.remove()
    assert seen[0] is None
    assert seen[1].tolist() == [[0] * 9 + [*range(1, SHORT)], [*range(LENGTH)]]


@pytest.mark.parametrize("length", [16, 17, 48, 320, 10_240])
def test_uneven_calls_are_a_split_of_the_sequence(length):
    calls = uneven_calls(length)
    assert [start for start, _ in calls] == [0, *(stop for _, stop in calls[:-1])]
    assert calls[-1][1] == length
    sizes = [stop - start for start, stop in calls]
    assert all(size % 2 for size in sizes[:-1])
    assert 3 < len(calls) < 20
    assert len(set(sizes)) > 1


@pytest.mark.parametrize(
    ("length", "trained_length", "prefill", "stop"),
    [(48, 32, 1, 48), (320, 256, 240, 320), (10_240, 8192, 8176, 8272), (300, 512, 268, 300)],
)
def test_decoding_crosses_the_trained_length_token_by_token(length, trained_length, prefill, stop):
    calls = decoding_calls(length, trained_length)
    assert calls[0] == (0, prefill)
    assert list(calls[1:]) == [(start, start + 1) for start in range(prefill, stop)]


def test_logits_compared_in_blocks_are_the_same(dynamic, monkeypatch):
    at_once = verify_stock(dynamic)
    monkeypatch.setattr("ropewalk.verification.gap.LOGITS_AT_ONCE", 97 * 5)
    for record, expected in zip(verify_stock(dynamic), at_once, strict=True):
        assert record["sentence"].partition("(")[0] == expected["sentence"].partition("(")[0]
        assert_close(figure(record), figure(expected), rtol=0, atol=1e-9)


def test_a_long_sequence_is_prefilled_first(dynamic):
    records = by_method(rw.verify(dynamic, ["dynamic_ntk"], length=160))["dynamic_ntk"]
    assert records["decode"]["sentence"].startswith("prefill of 16 tokens, then 96 one by one")
    assert set(statuses(records).values()) == {"ok"}


# What is asked for.


def test_an_omitted_factor_is_the_length_over_the_trained_length(monkeypatch):
    asked = []

    def refuse(self, spec, **given):
        asked.append(given)
        raise rw.RopewalkError("not now")

    monkeypatch.setattr(TransformersMethods, "applied", refuse)
    with pytest.raises(rw.RopewalkError, match="no method could run: not now"):
        rw.verify(small(num_hidden_layers=1), ["yarn"], length="2x")
    assert asked == [{"default_factor": 2.0, "context_length": 2 * L0}]


def test_a_method_that_the_model_refuses_is_told_with_its_reason():
    """Every layer slides within what it knows: only native can be put in."""
    model = small("mistral", sliding_window=24)
    shares = []
    records = by_method(
        rw.verify(
            model, ["none", "native"], listener=Heard(lambda work, share: shares.append(share))
        )
    )
    assert shares[-1] == 11 / 12
    assert set(statuses(records["native"]).values()) == {"ok"}
    assert set(statuses(records["none"]).values()) == {"not run"}
    assert "within a window" in records["none"]["padded"]["sentence"]
    with pytest.raises(rw.RopewalkError, match="no method could run: mistral"):
        rw.verify(model, ["none"])


@pytest.mark.parametrize(
    ("specs", "length", "message"),
    [
        (["yran"], None, "unknown method yran"),
        (["temperature"], None, "temperature without tau"),
        (["none"], 15, "expected at least 16 tokens"),
        (["none"], "twice", "length twice"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(specs, length, message, monkeypatch):
    model = small(num_hidden_layers=1)
    monkeypatch.setattr(model, "forward", None)
    with pytest.raises(rw.RopewalkError, match=message):
        rw.verify(model, specs, length=length)


@pytest.mark.parametrize("check", [rw.verify, verify_stock])
def test_an_extended_model_is_refused(check):
    model = small(num_hidden_layers=1)
    with rw.extend(model, "none"), pytest.raises(rw.RopewalkError, match=r"call \.remove\(\)"):
        check(model)


def test_stock_runs_a_family_that_extend_refuses(monkeypatch):
    """Then the floor of the dtype alone is allowed."""

    def refuse(self):
        raise rw.RopewalkError("not supported")

    monkeypatch.setattr(TransformersMethods, "native", refuse)
    records = verify_stock(small(dtype=torch.float32, num_hidden_layers=1))
    assert {record["status"] for record in records} == {"ok"}
    largest = {round(record["tolerance"] / 1e-4, 6) for record in records}
    assert all(1e-2 < each < 1e3 for each in largest)
