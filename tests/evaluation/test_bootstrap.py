"""Intervals against enumeration, known coverage and exact special cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.bootstrap import figure, interval, paired_difference
from ropewalk.evaluation.units import Ratio, Unit


def unit(document: int, window: int, nll: float, tokens: int) -> Unit:
    return Unit(document=document, window=window, values={"loss": Ratio(nll, tokens)})


def documents(nlls, tokens) -> list[Unit]:
    return [unit(i, 0, float(n), int(t)) for i, (n, t) in enumerate(zip(nlls, tokens, strict=True))]


def test_the_mean_is_over_tokens_and_not_over_units():
    assert figure(documents([10, 30], [10, 10])) == 2.0
    assert figure(documents([10, 90], [10, 30])) == 2.5


def test_three_documents_give_the_range_of_their_means():
    # The same document three times: probability 1/27 = 3.7 % > 2.5 %, so that both ends of
    # the interval are the means of single documents.
    found = interval(documents([10, 66, 20], [10, 30, 10]))
    assert (found.low, found.high) == pytest.approx((1.0, 2.2))
    assert found.drawn == "documents"


def test_the_interval_agrees_with_all_possible_draws():
    nlls, tokens = np.array([11.0, 58, 33, 70, 24]), np.array([10, 30, 15, 40, 20])
    draws = np.array(list(itertools.product(range(5), repeat=5)))
    means = np.sort(nlls[draws].sum(1) / tokens[draws].sum(1))
    found = interval(documents(nlls, tokens))
    # 4,000 resamples: the share below a 2.5 % point has a standard error of 0.25 %.
    assert means[int(0.015 * len(means))] <= found.low <= means[int(0.035 * len(means))]
    assert means[int(0.965 * len(means))] <= found.high <= means[int(0.985 * len(means))]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        nlls = rng.normal(2.0, 0.5, size=40) * 10
        found = interval(documents(nlls, [10] * 40))
        held += found.low <= 2.0 <= found.high
    # 95 % less the known shortfall at 40 units; the standard error over 200 trials is 1.6 %.
    assert 0.88 <= held / 200 <= 0.99


def test_windows_are_drawn_only_if_there_is_one_document():
    windows = [unit(0, w, nll, 10) for w, nll in enumerate([10, 20, 30])]
    assert interval(windows).drawn == "windows"
    assert interval([*windows, unit(1, 0, 15, 10)]).drawn == "documents"


def test_a_document_is_drawn_whole():
    split = [unit(d, w, nll, 10) for d, w, nll in [(0, 0, 5), (0, 1, 25), (1, 0, 40), (1, 1, 0)]]
    whole = documents([30, 40], [20, 20])
    assert interval(split) == interval(whole)


def test_one_unit_has_no_interval():
    assert interval([unit(0, 0, 12.0, 6)]) is None
    assert paired_difference([unit(0, 0, 12.0, 6)], [unit(0, 0, 6.0, 6)]).interval is None
    assert paired_difference([unit(0, 0, 12.0, 6)], [unit(0, 0, 6.0, 6)]).value == 1.0


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 99)), min_size=2, max_size=9))
def test_an_equal_shift_of_every_token_has_an_exact_paired_difference(values):
    baseline = documents(*zip(*values, strict=True))
    shifted = documents([n - 0.25 * t for n, t in values], [t for _, t in values])
    found = paired_difference(shifted, baseline)
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((-0.25,) * 3)


def test_a_paired_difference_draws_both_together():
    rng = np.random.default_rng(1)
    hard = rng.normal(20, 5, size=30)
    better = hard - rng.normal(0.5, 0.1, size=30)
    ours, theirs = documents(better, [10] * 30), documents(hard, [10] * 30)
    found = paired_difference(ours, theirs)
    assert found.interval.high < 0
    assert interval(ours).high > interval(theirs).low
    assert found.value == pytest.approx(figure(ours) - figure(theirs))


def test_other_targets_cannot_be_paired():
    with pytest.raises(RopewalkError, match="other targets"):
        paired_difference([unit(0, 0, 1, 5)], [unit(0, 0, 1, 6)])
    with pytest.raises(RopewalkError, match="other targets"):
        paired_difference([unit(0, 0, 1, 5)], [unit(0, 1, 1, 5)])


def test_the_same_units_give_the_same_interval():
    units = documents([11, 58, 33], [10, 30, 15])
    assert interval(units) == interval(list(units))
