"""Successive halving over the ramp's four numbers.

Draws are measured on one document, the better third of them on two, a third of these on four,
and so on to all. The first bracket draws from the whole cube; each further one around the best,
with half the spread.

Source: Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification, arXiv:1502.07943.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ropewalk.searching.candidate import Candidate
from ropewalk.searching.ramp_space import NUMBERS, RampSpace
from ropewalk.searching.trials import Trials
from ropewalk.searching.ways.way import Problem, Way

Point = tuple[float, ...]
BRACKET_COST = 2.0
"""Measurements of one document for each draw, over a bracket, by estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving(Way):
    """Brackets of ``draws``, then half as many in each; a share 1 / ``keep`` goes on each time.

    spread  standard deviation of the second bracket's draws, in the unit cube
    """

    draws: int = 48
    brackets: int = 4
    keep: int = 3
    spread: float = 0.16

    def units(self, problem: Problem, documents: int) -> int:
        return int(self.draws * (1 + (self.brackets - 1) / 2) * BRACKET_COST)

    def search(self, problem: Problem, trials: Trials) -> None:
        space = RampSpace(geometry=problem.geometry, length=problem.length)
        rng = np.random.default_rng(problem.seed)
        draws = self._draws(trials)
        points = [*space.starts(), *_spread_out(max(0, draws - 2), rng)]
        found: dict[Candidate, Point] = {}
        for bracket in range(self.brackets):
            named = {self._candidate(space, point, problem, rng): point for point in points}
            found |= named
            self._halve(list(named), trials)
            best = next((found[each] for each in trials.ranked() if each in found), points[0])
            spread = self.spread / 2**bracket
            points = list(_around(best, draws // 2, spread, rng))

    def _draws(self, trials: Trials) -> int:
        """Fewer where the first bracket would take more than half of the budget; as many as it
        has room for where that is less than two.
        """
        left, rungs = trials.left, trials.rungs
        if left is None:
            return self.draws
        for share in (left / 2, left):
            fitting = [n for n in range(2, self.draws + 1) if self._cost(n, rungs) <= share]
            if fitting:
                return fitting[-1]
        return 2

    def _cost(self, draws: int, rungs: Sequence[int]) -> int:
        """Measurements of one document in a bracket."""
        cost, alive = 0, draws
        for before, count in zip((0, *rungs), rungs, strict=False):
            cost += alive * (count - before)
            alive = max(1, -(-alive // self.keep))
        return cost

    def _candidate(
        self, space: RampSpace, point: Point, problem: Problem, rng: np.random.Generator
    ) -> Candidate:
        ramp = space.candidate(point)
        start = int(rng.choice(problem.start_tokens))
        return Candidate.of(ramp.divisors, ramp.magnitude, start).over(problem.over)

    def _halve(self, candidates: list[Candidate], trials: Trials) -> None:
        for count in trials.rungs:
            values = trials.on(candidates, count)
            order = sorted(range(len(candidates)), key=lambda number: values[number])
            left = max(1, -(-len(order) // self.keep))
            if count < trials.documents:
                candidates = [candidates[number] for number in order[:left]]


def _spread_out(count: int, rng: np.random.Generator) -> Iterator[Point]:
    """A Latin hypercube: every number's range is cut into ``count`` cells, each drawn from once."""
    columns = [(rng.permutation(count) + rng.random(count)) / count for _ in range(NUMBERS)]
    return (tuple(map(float, row)) for row in np.stack(columns, axis=1))


def _around(centre: Point, count: int, spread: float, rng: np.random.Generator) -> Iterator[Point]:
    moved = np.asarray(centre) + spread * rng.standard_normal((count, NUMBERS))
    return (tuple(map(float, row)) for row in np.clip(moved, 0, 1))
