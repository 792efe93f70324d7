"""Every way, on a landscape whose valley is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

import ropewalk as rw
from ropewalk.core.errors import RopewalkError
from ropewalk.searching.candidate import Candidate, Schedule
from ropewalk.searching.measure import Score, Slope
from ropewalk.searching.request import WAYS, read_way
from ropewalk.searching.run import Contest, Panels, search
from ropewalk.searching.schedules import closed_form_ramp, fixed_schedules
from ropewalk.searching.trials import Allowance, Trials
from ropewalk.searching.ways.evolution import Evolution
from ropewalk.searching.ways.segments import Segments
from ropewalk.searching.ways.slopes import Slopes
from ropewalk.searching.ways.way import START_TOKENS, Problem, Way

GEOMETRY = rw.RopeGeometry(head_dim=32, rope_theta=10_000.0, trained_length=256)
PAIRS, LENGTH = 16, 2048
_RAMP = rw.encoding("yarn:factor=11,beta_fast=5,beta_slow=0.8,truncate=false", GEOMETRY)
VALLEY = (GEOMETRY.inv_freq() / _RAMP.rotation.inv_freq(LENGTH)).log().numpy()
MAGNITUDE = 0.09


class Landscape:
    """A bowl in ln lambda and ln magnitude; documents are hard or easy for all alike.

    noise  of each (candidate, document), the same whenever it is asked
    """

    def __init__(self, first=0, noise=0.0):
        self.first, self.noise, self.asked = first, noise, []

    def value(self, candidate, number):
        own = np.log(candidate.divisors) - VALLEY
        bowl = 0.1 * float(own @ own) + (math.log(candidate.magnitude) - MAGNITUDE) ** 2
        rng = np.random.default_rng([self.first + number, abs(hash(candidate)) % 2**31])
        return 5 + 0.3 * math.sin(self.first + number) + bowl + self.noise * rng.standard_normal()

    def __call__(self, candidates, documents):
        self.asked += [(each, number) for each in candidates for number in documents]
        return [[Score(self.value(each, n)) for n in documents] for each in candidates]

    def slope(self, candidate, documents):
        own = np.log(candidate.divisors) - VALLEY
        return Slope(
            value=float(np.mean([self.value(candidate, number) for number in documents])),
            divisors=tuple(0.2 * own),
            magnitude=2 * (math.log(candidate.magnitude) - MAGNITUDE),
        )


def problem(landscape, **changed):
    starts = [each.candidate for each in fixed_schedules(GEOMETRY, LENGTH)]
    found = Problem(geometry=GEOMETRY, length=LENGTH, starts=starts, slope=landscape.slope)
    return replace(found, **changed)


def trials_of(landscape, documents=4, units=None):
    trials = Trials(measure=landscape, documents=documents, allowance=Allowance(units=units))
    trials.race([each.candidate for each in fixed_schedules(GEOMETRY, LENGTH)])
    return trials


@pytest.mark.parametrize("name", WAYS)
def test_a_way_goes_down_from_the_best_fixed_schedule(name):
    landscape = Landscape()
    trials = trials_of(landscape, units=1200)
    before = trials.curve[-1].value
    read_way(name).run(problem(landscape), trials)
    floor = 5 + 0.3 * float(np.mean([math.sin(n) for n in range(4)]))
    share = 1.0 if name == "evolution" else 0.6  # whose first population alone is 64
    assert trials.curve[-1].value - floor < share * (before - floor)
    assert trials.units <= 1200


@pytest.mark.parametrize("name", WAYS)
def test_a_way_asks_the_same_again_and_never_twice(name):
    """So that a search goes on from kept answers to the end that it would have had."""
    runs = []
    for _ in range(2):
        landscape = Landscape()
        trials = trials_of(landscape, units=300)
        read_way(name).run(problem(landscape, seed=3), trials)
        runs.append(landscape.asked)
        assert len(set(landscape.asked)) == len(landscape.asked)
    assert runs[0] == runs[1]


def test_the_published_evolution_is_1344_candidates_on_a_grid_that_never_fall():
    landscape = Landscape()
    trials = Trials(measure=landscape, documents=1)
    Evolution().search(problem(landscape), trials)
    people = list(dict.fromkeys(each for each, _ in landscape.asked))
    assert len(people) == 64 + 40 * 32
    for each in people:
        steps = np.array(each.divisors) * 100
        assert np.allclose(steps, steps.round(), atol=1e-3)
        assert (np.diff(steps) >= -1e-9).all()
        assert steps.min() >= 100 - 1e-9
        assert steps.max() <= 100 * (1 + LENGTH / 256) + 1e-6
        assert each.magnitude == pytest.approx(math.sqrt(1 + math.log(8) / math.log(256)), rel=1e-5)
    yarn = rw.encoding("yarn:factor=8", GEOMETRY).rotation.inv_freq(LENGTH)
    wanted = (GEOMETRY.inv_freq() / yarn).tolist()
    assert people[0].divisors == pytest.approx(wanted, abs=0.0051)


def test_start_tokens_are_searched_where_they_are_allowed():
    for name in ("ramp", "cmaes", "evolution"):
        landscape = Landscape()
        trials = trials_of(landscape, units=400)
        read_way(name).run(problem(landscape, start_tokens=START_TOKENS), trials)
        found = {each.start_tokens for each, _ in landscape.asked}
        assert len(found) > 2, name
        assert found <= set(START_TOKENS)


def test_divide_and_conquer_tries_ten_increments_for_each_segment():
    landscape = Landscape()
    trials = trials_of(landscape, documents=1)
    before = len({each for each, _ in landscape.asked})
    Segments().search(problem(landscape), trials)
    tried = len({each for each, _ in landscape.asked}) - before
    segments = 2 + 4 + 8 + 16
    assert 8 * segments < tried <= 10 * segments  # at the least divisor, two may be the same


def test_a_gradient_without_a_slope_is_refused():
    trials = trials_of(Landscape())
    with pytest.raises(RopewalkError, match="gradient"):
        Slopes().search(problem(Landscape(), slope=None), trials)


def contest():
    return Contest(fixed=fixed_schedules(GEOMETRY, LENGTH), ramp=closed_form_ramp(GEOMETRY, LENGTH))


def outcome(search_noise, documents=(4, 4, 12), shift=0.0, way="ramp"):
    """A search; ``shift`` is added to the loss of all but fixed schedules on test documents."""
    fixed = {each.candidate for each in contest().fixed}
    landscape = Landscape(noise=search_noise)

    class Shifted(Landscape):
        def value(self, candidate, number):
            return super().value(candidate, number) + (0 if candidate in fixed else shift)

    trials = Trials(measure=landscape, documents=documents[0])
    panels = Panels(
        search=landscape, choice=Landscape(100), test=Shifted(200, noise=0.01), documents=documents
    )
    return search(
        read_way(way),
        problem(landscape),
        contest(),
        panels,
        trials,
        lambda t, bars: Allowance(units=300),
    )


def test_a_winner_beats_the_best_fixed_schedule_where_nothing_was_chosen():
    found = outcome(0.0)
    assert found.found
    assert found.gain.high < 0
    record = found.record()
    assert record["factors"] == list(found.chosen.candidate.divisors)
    assert "beats" in record["verdict"]


def test_what_is_better_only_where_it_was_searched_is_not_reported():
    """On test documents everything but the fixed schedules is worse: the bar holds."""
    found = outcome(0.0, shift=2.0)
    assert not found.found
    record = found.record()
    assert record["verdict"].startswith(f"nothing better than {record['best_fixed']} found")
    fixed = {each.name: each.candidate for each in contest().fixed}
    assert record["factors"] == list(fixed[record["best_fixed"]].divisors)
    assert record["winner"] == record["best_fixed"]


def test_the_ramp_stands_beside_every_winner_with_its_own_test_loss():
    record = outcome(0.0).record()
    ramp = record["rows"][1]
    assert ramp["name"] == "ntk_by_parts:factor=8,beta_fast=4"
    assert ramp["test"] is not None
    assert record["rows"][0]["to_ramp"] is not None


def test_the_best_fixed_schedule_is_the_one_that_is_best_on_the_test_documents():
    rows = [row for row in outcome(0.0).fixed if row.test is not None]
    assert rows
    assert rows[0].test == min(row.test for row in rows)
    means = {
        each.name: np.mean([Landscape(200, noise=0.01).value(each.candidate, n) for n in range(12)])
        for each in contest().fixed
    }
    assert rows[0].name == min(means, key=means.get)


class Idle(Way):
    """Finds nothing: what there is already decides."""

    def units(self, problem, documents):
        return 0

    def search(self, problem, trials):
        pass


def against(in_force, tried):
    """What an idle search hands out where one schedule is in force and another one is tried."""
    measure = Landscape(noise=0.05)
    ramp = Schedule(name="ramp", candidate=Candidate.of([8.0] * PAIRS))
    fixed, others = (
        (Schedule(name=name, candidate=each),)
        for name, each in (("in force", in_force), ("tried", tried))
    )
    return search(
        Idle(),
        problem(measure),
        Contest(fixed=fixed, ramp=ramp, tried=others),
        Panels(search=measure, choice=Landscape(100), test=Landscape(200), documents=(4, 4, 12)),
        Trials(measure=measure, documents=4),
        lambda trials, bars: Allowance(),
    )


def test_what_is_tried_besides_is_handed_out_only_where_it_beats_what_is_in_force():
    valley = Candidate.of(np.exp(VALLEY).tolist(), math.exp(MAGNITUDE))
    beside = Candidate.of((np.exp(VALLEY) * 1.5).tolist(), math.exp(MAGNITUDE))
    found, kept = against(beside, valley), against(valley, beside)
    assert (found.winner.name, found.winner.candidate) == ("tried", valley)
    assert found.verdict.startswith("tried beats in force: ")
    assert (kept.winner.name, kept.winner.candidate) == ("in force", valley)
    assert kept.verdict.startswith("nothing better than in force found: ")


def test_a_search_whose_schedules_all_fail_says_so():
    class Broken(Landscape):
        def value(self, candidate, number):
            return math.inf

    trials = Trials(measure=Broken(), documents=2)
    panels = Panels(search=Broken(), choice=Broken(), test=Broken(), documents=(2, 2, 2))
    with pytest.raises(RopewalkError, match="no fixed schedule has a finite loss"):
        search(
            read_way("ramp"), problem(Broken()), contest(), panels, trials, lambda t, b: Allowance()
        )  # fmt: skip


def test_a_candidate_is_finite_and_above_zero():
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(RopewalkError, match="above 0"):
            Candidate.of([1.0, bad])


@pytest.mark.parametrize("units", [20, 40, 80])
def test_a_small_budget_still_brings_a_candidate_of_the_ramp_to_all_documents(units):
    landscape = Landscape()
    trials = trials_of(landscape)
    trials.allowance, trials.opened = Allowance(units=trials.units + units), True
    read_way("ramp").run(problem(landscape), trials)
    assert trials.own
    assert {point.candidate for point in trials.own} <= {each for each, _ in landscape.asked}
