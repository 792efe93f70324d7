"""What a search ends with: a winner or none, told on documents that no choice was made on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropewalk.searching.candidate import Candidate, Schedule
from ropewalk.searching.paired import Difference, difference
from ropewalk.searching.trials import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One schedule: its mean nats on each part of the documents, None where not measured.

    tested  values on the test documents, one each
    """

    name: str
    candidate: Candidate
    search: float | None = None
    choice: float | None = None
    tested: tuple[float, ...] = ()

    @property
    def test(self) -> float | None:
        """Mean nats on the test documents; None too where one could not be measured."""
        if not self.tested or not all(map(math.isfinite, self.tested)):
            return None
        return sum(self.tested) / len(self.tested)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The rows of a finished search, and what they say.

    fixed     those with test values, best first, then those that were dropped before
    ramp      the closed-form ramp
    chosen    of what the way found, the best on the choice documents
    curve     best on the search documents, as it fell
    own       the same of what the way itself tried
    units     measurements of one document, those of the search alone
    documents  search, choice and test documents
    ended     why the way ended: ``done`` or ``budget``
    """

    fixed: tuple[Row, ...]
    ramp: Row
    chosen: Row
    curve: tuple[Point, ...]
    own: tuple[Point, ...]
    units: int
    documents: tuple[int, int, int]
    ended: str

    @property
    def best_fixed(self) -> Row:
        """The lowest on the test documents: the highest bar that the fixed schedules set."""
        return self.fixed[0]

    @property
    def gain(self) -> Difference:
        """The chosen schedule minus the best fixed one, paired over the test documents."""
        return difference(self.chosen.tested, self.best_fixed.tested)

    @property
    def found(self) -> bool:
        """Whether the interval of the gain is below zero."""
        return self.gain.below_zero

    @property
    def winner(self) -> Row:
        """What is handed out: the chosen schedule if it is better, else the best fixed one."""
        return self.chosen if self.found else self.best_fixed

    @property
    def verdict(self) -> str:
        """One sentence."""
        gain, documents = self.gain, len(self.chosen.tested)
        interval = f"{gain.value:+.4f} nats ({gain.low:+.4f} to {gain.high:+.4f})"
        where = f"on {documents} held-out documents"
        if self.found:
            return f"{self.chosen.name} beats {self.best_fixed.name}: {interval} {where}"
        return f"nothing better than {self.best_fixed.name} found: {interval} {where}"

    def record(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "found": self.found,
            "verdict": self.verdict,
            "best_fixed": self.best_fixed.name,
            "winner": self.winner.name,
            "factors": list(self.winner.candidate.divisors),
            "attention_factor": self.winner.candidate.magnitude,
            "start_tokens": self.winner.candidate.start_tokens,
            "ended": self.ended,
            "documents": dict(zip(("search", "choice", "test"), self.documents, strict=True)),
            "rows": [self._row(row) for row in (self.chosen, self.ramp, *self.fixed)],
            "curve": [_point(point) for point in self.curve],
            "way_curve": [_point(point) for point in self.own],
        }

    def _row(self, row: Row) -> Mapping[str, Any]:
        to_fixed = _apart(row, self.best_fixed)
        return {
            "name": row.name,
            "search": row.search,
            "choice": row.choice,
            "test": row.test,
            "to_best_fixed": to_fixed,
            "to_ramp": _apart(row, self.ramp),
            **_numbers(row.candidate),
        }


def _apart(row: Row, other: Row) -> Mapping[str, Any] | None:
    if row.test is None or other.test is None or row.candidate == other.candidate:
        return None
    return difference(row.tested, other.tested).record()


def _point(point: Point) -> Mapping[str, Any]:
    return {"units": point.units, "value": point.value, **_numbers(point.candidate)}


def _numbers(candidate: Candidate) -> Mapping[str, Any]:
    return {
        "factors": list(candidate.divisors),
        "attention_factor": candidate.magnitude,
        "start_tokens": candidate.start_tokens,
    }


def row_of(schedule: Schedule, search: float | None, choice: float | None) -> Row:
    """A schedule before it is tested."""
    return Row(name=schedule.name, candidate=schedule.candidate, search=search, choice=choice)


def ordered(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Best on the test documents first; those without test values after them, by the search."""

    def place(row: Row) -> tuple[bool, float]:
        return row.test is None, (row.search or 0.0) if row.test is None else row.test

    return tuple(sorted(rows, key=place))
