"""Divide and conquer over segments of pairs (DCIS).

    halves of the pairs first, then quarters, ... down to single pairs; slow pairs first
    of a segment, ``increments`` numbers spread over its range are added to its divisors in turn,
    and the best stays
    both halves of a segment get the range of its three best increments and one step around it

The first range is -5 to 5. Every candidate is measured on all documents.

Source: Yang et al. 2024, DCIS, arXiv:2412.18811, algorithm 1; its released code for the ranges.
Deviation: begins at the best fixed schedule, released code at YaRN by default. The first range is
    5 s / 4, which is released code's 5 at the factor 4 that it was
    written for. Released code never lets a divisor fall below 0.0001; here the least is 0.5, since
    a pair that turns faster than it was trained to has no use. It halves the number of pairs a
    segment, rounding down, and leaves out pairs where that is odd; here all pairs are covered.
"""

from dataclasses import dataclass

from ropewalk.searching.candidate import Candidate
from ropewalk.searching.schedules import stretch
from ropewalk.searching.trials import Trials
from ropewalk.searching.ways.way import Problem, Way

LEAST = 0.5
KEPT = 3
FIRST_RANGE = 1.25


@dataclass(frozen=True, slots=True)
class _Segment:
    """Pairs ``first .. last - 1``, and the increments to try."""

    first: int
    last: int
    low: float
    high: float

    def halves(self, low: float, high: float) -> tuple["_Segment", ...]:
        middle = (self.first + self.last) // 2
        parts = ((self.first, middle), (middle, self.last))
        return tuple(_Segment(a, b, low, high) for a, b in parts if b > a)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments(Way):
    """``increments`` a segment: 10 * (2 + 4 + ... + f) candidates in all for f pairs."""

    increments: int = 10

    def units(self, problem: Problem, documents: int) -> int:
        return self.increments * 2 * problem.pairs * documents

    def search(self, problem: Problem, trials: Trials) -> None:
        room = FIRST_RANGE * stretch(problem.geometry, problem.length)
        current = trials.best or problem.starts[0]
        level = list(_Segment(0, problem.pairs, -room, room).halves(-room, room))
        while level:
            following: list[_Segment] = []
            for segment in reversed(level):
                current, low, high = self._conquer(segment, current, trials)
                if segment.last - segment.first > 1:
                    following = [*segment.halves(low, high), *following]
            level = following

    def _conquer(
        self, segment: _Segment, current: Candidate, trials: Trials
    ) -> tuple[Candidate, float, float]:
        """The best candidate of a segment, and the range of its halves around it."""
        step = (segment.high - segment.low) / (self.increments - 1)
        added = [segment.low + step * number for number in range(self.increments)]
        moved = [_moved(current, segment, each) for each in added]
        values = trials.on(moved, trials.documents)
        order = sorted(range(len(added)), key=lambda number: values[number])
        best, kept = added[order[0]], [added[number] for number in order[:KEPT]]
        return moved[order[0]], min(kept) - step - best, max(kept) + step - best


def _moved(current: Candidate, segment: _Segment, increment: float) -> Candidate:
    divisors = [
        max(LEAST, each + increment) if segment.first <= pair < segment.last else each
        for pair, each in enumerate(current.divisors)
    ]
    return Candidate.of(divisors, current.magnitude, current.start_tokens)
