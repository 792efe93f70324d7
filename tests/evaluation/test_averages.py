"""Averages of rules, and their intervals."""

import math

import pytest
from rules_by_hand import document

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.averages import OfPerplexities, OverTokens, OverUnits
from ropewalk.evaluation.bootstrap import figure, interval, paired_difference
from ropewalk.evaluation.protocols.chunkllama import ChunkLlamaRule
from ropewalk.evaluation.protocols.strided import YarnRule
from ropewalk.evaluation.units import Metric, Ratio, Unit


def units(nlls, tokens):
    return [
        Unit(document=i, window=0, values={"loss": Ratio(n, t)})
        for i, (n, t) in enumerate(zip(nlls, tokens, strict=True))
    ]


def mean_nll(units, average):
    return figure(units, Metric(name="loss", average=average))


def test_each_average_on_two_documents_of_unequal_size():
    two = units([10.0, 90.0], [10, 30])
    assert mean_nll(two, OverTokens()) == 2.5
    assert mean_nll(two, OverUnits()) == 2.0
    assert mean_nll(two, OfPerplexities()) == pytest.approx(
        math.log((math.exp(1) + math.exp(3)) / 2)
    )


def test_a_document_that_went_wrong_does_not_overflow():
    assert mean_nll(units([1e6, 1.0], [10, 10]), OfPerplexities()) == pytest.approx(
        700 - math.log(2)
    )


@pytest.mark.parametrize("average", [OverUnits(), OfPerplexities()])
def test_intervals_and_differences_follow_the_average(average):
    """Three documents: the ends of the interval are the figures of single documents."""
    three = units([10.0, 66.0, 20.0], [10, 30, 10])
    metric = Metric(name="loss", average=average)
    found = interval(three, metric)
    assert (found.low, found.high) == pytest.approx((1.0, 2.2))
    shifted = units([n - 0.25 * t for n, t in ((10, 10), (66, 30), (20, 10))], [10, 30, 10])
    gap = paired_difference(shifted, three, metric)
    assert (gap.value, gap.interval.low, gap.interval.high) == pytest.approx((-0.25,) * 3)


def test_rules_that_leave_tokens_out_are_refused_with_the_remedy():
    with pytest.raises(RopewalkError, match="--stride"):
        YarnRule(stride=256, tokens=4096).check(128, document(300))
    with pytest.raises(RopewalkError, match="last window"):
        ChunkLlamaRule(stride=4, tokens=90).check(58, document(60))
