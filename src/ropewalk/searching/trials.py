"""Trials: what a search has measured so far, within its budget, and races between candidates.

A race goes over ever more documents. After each round a candidate is dropped whose paired
interval to the best one is above zero, or which costs too much at the trained length.

Source: Birattari et al. 2002, A Racing Algorithm for Configuring Metaheuristics, with Student's
    paired interval in the place of their rank test.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measure import Measure, Score, blocks
from ropewalk.searching.paired import difference

INFEASIBLE = 1e6
"""Nats that put a candidate behind all that keep to the short-context limit."""


class Spent(Exception):
    """The budget leaves no room for what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a search may spend.

    units     measurements of one document; None for no limit
    fits      whether so many more end in time
    """

    units: int | None = None
    fits: Callable[[int], bool] = lambda units: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The best candidate on all documents, and the units that were spent when it was found."""

    units: int
    candidate: Candidate
    value: float


@dataclass(slots=True, kw_only=True)
class Trials:
    """A record that grows. Equal questions in equal order make an equal record.

    documents    on which a search looks, numbered from 0
    short_limit  nats that a candidate may cost at the trained length; None for any
    told         called with the units spent after each measurement
    curve        the best so far, each time that there is a better one
    own          the same of what was measured after ``opened`` was set: by a way, not to start with
    """

    measure: Measure
    documents: int
    allowance: Allowance = field(default_factory=Allowance)
    short_limit: float | None = None
    told: Callable[["Trials"], None] = lambda trials: None
    scores: dict[Candidate, list[Score]] = field(default_factory=dict)
    curve: list[Point] = field(default_factory=list)
    own: list[Point] = field(default_factory=list)
    units: int = 0
    opened: bool = False

    @property
    def rungs(self) -> tuple[int, ...]:
        """Numbers of documents at which a candidate may stop: 1, 2, 4, ... and all."""
        return tuple(block.stop for block in blocks(self.documents))

    @property
    def left(self) -> int | None:
        """Units that the budget has left; None for no limit."""
        limit = self.allowance.units
        return None if limit is None else max(0, limit - self.units)

    @property
    def best(self) -> Candidate | None:
        """The best of those that were measured on all documents."""
        return self.curve[-1].candidate if self.curve else None

    def ranked(self) -> list[Candidate]:
        """Those that were measured on all documents and keep to the limit, best first."""
        whole = [each for each, scores in self.scores.items() if len(scores) == self.documents]
        usable = [each for each in whole if self.value(each) < INFEASIBLE]
        return sorted(usable, key=self.value)

    def on(self, candidates: Sequence[Candidate], count: int) -> list[float]:
        """Each one's value over the first ``count`` documents (of ``rungs``).

        Raises Spent if the budget has no room for it; what is measured stays.
        """
        asked = list(dict.fromkeys(candidates))
        for block in blocks(self.documents):
            if block.start < count:
                self._fill_failed(asked, block)
                wanting = [e for e in asked if len(self.scores.get(e, ())) <= block.start]
                self._measure(wanting, block)
        return [self.value(each) for each in candidates]

    def race(self, candidates: Sequence[Candidate]) -> list[float]:
        """Each one's value; of one that is dropped, its difference to the best added to the best.

        Raises Spent as ``on``.
        """
        racing = list(dict.fromkeys(candidates))
        for count in self.rungs:
            self.on(racing, count)
            if 1 < count < self.documents or self.documents == 1:
                racing = self._kept(racing, count)
        return [self.estimate(each) for each in candidates]

    def value(self, candidate: Candidate) -> float:
        """Mean nats over the documents that it was measured on; behind all if it costs too much
        at the trained length.
        """
        scores = self.scores[candidate]
        excess = self._excess(scores)
        return INFEASIBLE + excess if excess > 0 else _mean(scores)

    def estimate(self, candidate: Candidate) -> float:
        """``value`` as it would be over all documents, by its difference to the best."""
        scores, value = self.scores[candidate], self.value(candidate)
        if self.best is None or len(scores) == self.documents or value >= INFEASIBLE:
            return value
        reference = self.scores[self.best]
        return value - _mean(reference[: len(scores)]) + _mean(reference)

    def worse(self, candidate: Candidate, other: Candidate) -> bool:
        """Whether the paired interval says so, of two that were measured on all documents."""
        ours, theirs = (_values(self.scores[each]) for each in (candidate, other))
        return difference(ours, theirs).above_zero

    def spend(self, units: int) -> None:
        """Take units from the budget; raises Spent if it has no room for them."""
        limit = self.allowance.units
        if (limit is not None and self.units + units > limit) or not self.allowance.fits(units):
            raise Spent
        self.units += units

    def _fill_failed(self, candidates: Sequence[Candidate], block: range) -> None:
        """What failed on one document is taken to fail on those that follow."""
        for scores in (self.scores.get(each, []) for each in candidates):
            if scores and not math.isfinite(scores[-1].value):
                scores.extend([Score(math.inf)] * (block.stop - len(scores)))

    def _measure(self, candidates: Sequence[Candidate], block: range) -> None:
        if not candidates:
            return
        self.spend(len(candidates) * len(block))
        for candidate, scores in zip(candidates, self.measure(candidates, block), strict=True):
            self.scores.setdefault(candidate, []).extend(scores)
        if block.stop == self.documents:
            self._note(candidates)
        self.told(self)

    def _note(self, candidates: Sequence[Candidate]) -> None:
        value, found = min(
            ((self.value(each), each) for each in candidates), key=lambda both: both[0]
        )
        for curve in (self.curve, *([self.own] if self.opened else [])):
            if value < INFEASIBLE and (not curve or value < curve[-1].value):
                curve.append(Point(units=self.units, candidate=found, value=value))

    def _kept(self, racing: Sequence[Candidate], count: int) -> list[Candidate]:
        known = [*racing, *([self.best] if self.best else [])]
        best = min(known, key=lambda each: self._value_on(each, count))
        theirs = _values(self.scores[best][:count])
        return [
            each
            for each in racing
            if self._excess(self.scores[each]) <= 0
            and not difference(_values(self.scores[each][:count]), theirs).above_zero
        ]

    def _value_on(self, candidate: Candidate, count: int) -> float:
        scores = self.scores[candidate][:count]
        excess = self._excess(scores)
        return INFEASIBLE + excess if excess > 0 else _mean(scores)

    def _excess(self, scores: Sequence[Score]) -> float:
        if self.short_limit is None:
            return 0.0
        return sum(score.short for score in scores) / len(scores) - self.short_limit


def _values(scores: Sequence[Score]) -> list[float]:
    return [score.value for score in scores]


def _mean(scores: Sequence[Score]) -> float:
    return sum(_values(scores)) / len(scores)
