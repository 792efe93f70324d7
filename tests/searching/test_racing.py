"""What a race measures, drops and spends, on callables whose answers are known."""

import math

import pytest

from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measure import Score, blocks
from ropewalk.searching.paired import difference
from ropewalk.searching.trials import INFEASIBLE, Allowance, Spent, Trials


def candidate(first, pairs=4):
    return Candidate.of([first] * pairs)


class Table:
    """Answers by a function of (candidate, document), and notes every question."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def __call__(self, candidates, documents):
        self.asked += [(each, number) for each in candidates for number in documents]
        return [[Score(*self.answer(each, number)) for number in documents] for each in candidates]


def test_students_interval_of_his_own_data():
    """Student 1908, table of additional hours of sleep; the interval is R's t.test(paired)."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = difference(second, first)
    assert found.value == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-3)
    assert found.above_zero
    assert difference(first, second).below_zero


def test_one_document_decides_nothing_and_a_failure_decides_all():
    alone = difference([1.0], [9.0])
    assert not alone.below_zero
    assert not alone.above_zero
    assert difference([1.0, math.inf], [9.0, 9.0]).above_zero
    assert difference([9.0, 9.0], [1.0, math.inf]).below_zero


@pytest.mark.parametrize("documents", [1, 2, 3, 5, 8, 24])
def test_blocks_are_all_documents_once_and_each_as_long_as_all_before_it(documents):
    found = blocks(documents)
    assert [number for block in found for number in block] == list(range(documents))
    assert all(len(block) <= max(1, block.start) for block in found)


def test_a_clearly_worse_candidate_stops_early_and_a_close_one_does_not():
    spread = [0.0, 1.0, -0.5, 0.3, 0.8, -0.2, 0.1, 0.6]
    gap = {1.0: 0.0, 2.0: 0.01, 3.0: 2.0}
    wobble = {2.0: [0.02, -0.03, 0.01, 0.0, 0.02, -0.02, 0.03, -0.01]}

    def answer(each, number):
        first = each.divisors[0]
        return (spread[number] + gap[first] + wobble.get(first, [0.0] * 8)[number],)

    table = Table(answer)
    trials = Trials(measure=table, documents=8)
    good, close, bad = map(candidate, (1.0, 2.0, 3.0))
    values = trials.race([good, close, bad])
    measured = {each: sum(asked == each for asked, _ in table.asked) for each in (good, close, bad)}
    assert measured == {good: 8, close: 8, bad: 2}
    assert trials.units == 18
    assert trials.best == good
    assert values[2] - values[0] == pytest.approx(2.0)  # as on all documents, though it saw two


def test_nothing_is_measured_twice():
    table = Table(lambda each, number: (each.divisors[0] + number,))
    trials = Trials(measure=table, documents=4)
    trials.on([candidate(1.0), candidate(1.0)], 2)
    trials.on([candidate(1.0)], 4)
    trials.race([candidate(1.0)])
    assert table.asked == [(candidate(1.0), number) for number in range(4)]


def test_a_budget_is_never_passed_and_what_is_measured_stays():
    table = Table(lambda each, number: (each.divisors[0],))
    trials = Trials(measure=table, documents=4, allowance=Allowance(units=9))
    trials.on([candidate(1.0), candidate(2.0)], 4)
    with pytest.raises(Spent):
        trials.on([candidate(3.0)], 4)
    assert trials.units == len(table.asked) == 9
    assert trials.ranked() == [candidate(1.0), candidate(2.0)]


def test_a_clock_ends_a_race_as_units_do():
    trials = Trials(
        measure=Table(lambda each, number: (1.0,)),
        documents=4,
        allowance=Allowance(fits=lambda units: units < 2),
    )
    with pytest.raises(Spent):
        trials.race([candidate(1.0)])
    assert trials.units == 2


def test_what_costs_too_much_at_the_trained_length_stands_behind_all_others():
    costs = {1.0: 0.5, 2.0: 0.05}
    table = Table(lambda each, number: (each.divisors[0], costs[each.divisors[0]]))
    trials = Trials(measure=table, documents=4, short_limit=0.1)
    dear, cheap = candidate(1.0), candidate(2.0)
    values = trials.race([dear, cheap])
    assert values[0] >= INFEASIBLE > values[1]
    assert trials.ranked() == [cheap]
    assert trials.best == cheap


def test_a_candidate_that_fails_is_not_asked_again():
    table = Table(lambda each, number: (math.inf if each.divisors[0] == 2 else 1.0,))
    trials = Trials(measure=table, documents=8)
    values = trials.race([candidate(1.0), candidate(2.0)])
    assert values[1] == math.inf
    assert sum(each == candidate(2.0) for each, _ in table.asked) == 1
    assert trials.ranked() == [candidate(1.0)]
