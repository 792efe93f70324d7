"""Checks over fakes: a model that is right, and one for each defect."""

import math

import pytest
import torch
from torch.testing import assert_close

from ropewalk.core.errors import RopewalkError
from ropewalk.verification.checks import CHECKS, Reference, Sample, default_length
from ropewalk.verification.gap import Gap

VOCABULARY, L0, LENGTH = 11, 32, 48
TABLE = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(1)).double()


class Rows:
    """Logits at hand."""

    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)

    def logits(self, start, stop):
        return self.table[start:stop]


class Fading:
    """Adds a row of a table for each token so far, less for each token that came before it.

    The defects are those of a key that was turned at another position.
    """

    name, trained_length, vocabulary_size = "fading", L0, VOCABULARY

    def predicted(self, ids, *, shift=0):
        index = torch.arange(len(ids))
        distance = index[:, None] - index + shift
        weights = torch.where(index[:, None] < index, 0.0, 0.9**distance)
        return Rows(weights.double() @ TABLE[ids])

    def in_turn(self, *sequences):
        return [self.predicted(ids) for ids in sequences]

    def in_calls(self, ids, calls):
        return Rows(torch.cat([self.predicted(ids[:stop]).table[start:] for start, stop in calls]))

    def in_batch(self, *sequences):
        return {"padded": self.in_turn(*sequences)}


class Remembers(Fading):
    def in_turn(self, *sequences):
        return [self.predicted(ids, shift=place) for place, ids in enumerate(sequences)]

    def in_batch(self, *sequences):
        return {"padded": Fading.in_turn(self, *sequences)}


class CountsPadding(Fading):
    def in_batch(self, *sequences):
        longest = max(map(len, sequences))
        shifted = [self.predicted(ids, shift=longest - len(ids)) for ids in sequences]
        return {"right": self.in_turn(*sequences), "wrong": shifted}


class ForgetsEarlierCalls(Fading):
    def in_calls(self, ids, calls):
        return Rows(torch.cat([self.predicted(ids[start:stop]).table for start, stop in calls]))


class TellsFew(Fading):
    """As a server that tells the three likeliest tokens: what they leave is spread evenly."""

    def predicted(self, ids, *, shift=0):
        told = super().predicted(ids, shift=shift).table.log_softmax(-1)
        likeliest, which = told.topk(3, dim=-1)
        left = (1 - likeliest.exp().sum(-1, keepdim=True)).log() - math.log(VOCABULARY - 3)
        return Rows(left.expand(-1, VOCABULARY).scatter(-1, which, likeliest))


def differing(model):
    reference = Reference(model, Sample.of(model, LENGTH))
    gaps = {name: check(reference) for name, check in CHECKS.items()}
    assert {name for name, gap in gaps.items() if gap.max_total_variation > 1e-3} == {
        name for name, gap in gaps.items() if gap.max_logit_difference > 1e-3
    }
    return {name for name, gap in gaps.items() if gap.max_logit_difference > 1e-12}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Fading(), set()),
        (TellsFew(), set()),
        (Remembers(), {"history"}),
        (CountsPadding(), {"padded"}),
        (ForgetsEarlierCalls(), {"chunked", "decode"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fading) else "",
)
def test_each_defect_is_seen_by_its_checks_alone(model, expected):
    assert differing(model) == expected


def test_the_worst_way_to_state_positions_is_told():
    model = CountsPadding()
    gap = CHECKS["padded"](Reference(model, Sample.of(model, LENGTH)))
    assert gap.way == "40 tokens padded on the left beside a row of 48, wrong"


def test_a_gap_is_of_the_rows_found_in_pieces_that_fit(monkeypatch):
    asked = []

    class Told(Rows):
        def logits(self, start, stop):
            asked.append(stop - start)
            return super().logits(start, stop)

    table = torch.randn(20, VOCABULARY, generator=torch.Generator().manual_seed(2)).double()
    found = table[:15] + torch.arange(15)[:, None] * (torch.arange(VOCABULARY) == 3)
    monkeypatch.setattr("ropewalk.verification.gap.LOGITS_AT_ONCE", 4 * VOCABULARY)
    gap = Gap.between("a way", [Told(table)], [Told(found)], VOCABULARY)
    assert max(asked) == 4
    assert_close(gap.logit_differences, torch.arange(15).double(), rtol=0, atol=1e-12)
    variations = (table[:15].softmax(-1) - found.softmax(-1)).abs().sum(-1) / 2
    assert_close(gap.total_variations, variations, rtol=0, atol=1e-12)
    assert gap.largest_logit == float(table[:15].abs().max())


def test_tokens_are_of_the_vocabulary_and_cross_the_trained_length():
    sample = Sample.of(Fading(), LENGTH)
    assert (len(sample.long), len(sample.short)) == (48, 40)
    assert set(sample.long.tolist()) == set(range(VOCABULARY))
    assert [default_length(n) for n in (32, 256, 8192)] == [48, 320, 8704]
    with pytest.raises(RopewalkError, match="length 15: expected at least 16 tokens"):
        Sample.of(Fading(), 15)
