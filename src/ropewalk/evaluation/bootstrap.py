"""Intervals: how much a figure would move with other texts of the same kind.

Documents are drawn with replacement, and the average (``averages.py``) is taken anew; the
2.5 % and 97.5 % points of these figures are the 95 % percentile interval.
With one document its windows are drawn instead. Windows of one document are less
independent than documents, so that interval is too narrow for other documents: a record
says which was drawn.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.averages import Average, Floats
from ropewalk.evaluation.units import LOSS, Metric, Unit

Drawn = Literal["documents", "windows"]

RESAMPLES = 4_000
NUMBERS_AT_ONCE = 2**22
_ONCE = np.ones((1, 1))
SEED = 20_230_831


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """95 % interval of a figure, and what was drawn."""

    low: float
    high: float
    drawn: Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A figure minus the baseline's."""

    value: float
    interval: Interval | None


def figure(units: Sequence[Unit], metric: Metric = LOSS) -> float:
    """A metric over all units; by default one division, never a mean of means."""
    return float(_Sums.of(units, metric, np.zeros(len(units), np.intp)).figures(_ONCE)[0])


def interval(units: Sequence[Unit], metric: Metric = LOSS) -> Interval | None:
    """Interval of ``figure``; None for a single unit, which says nothing about spread."""
    drawn, group = _groups(units)
    sums = _Sums.of(units, metric, group)
    return _percentile_interval(drawn, len(sums.numerators), sums.figures)


def paired_difference(
    units: Sequence[Unit], baseline: Sequence[Unit], metric: Metric = LOSS
) -> Difference:
    """Difference to a baseline over the same targets, both drawn together.

    Much narrower than the two intervals suggest, since what makes one text harder than
    another makes it harder for both.

    Raises RopewalkError unless both have the same units with the same denominators.
    """
    if _targets(units, metric) != _targets(baseline, metric):
        raise RopewalkError(
            "a paired difference of cells with other targets: expected the same protocol, "
            "documents and windows; measure both in one run"
        )
    drawn, group = _groups(units)
    ours, theirs = (_Sums.of(each, metric, group) for each in (units, baseline))
    spread = _percentile_interval(
        drawn,
        len(ours.numerators),
        lambda times: ours.figures(times) - theirs.figures(times),
    )
    return Difference(value=figure(units, metric) - figure(baseline, metric), interval=spread)


def _targets(units: Sequence[Unit], metric: Metric) -> list[tuple[int, int, float]]:
    return [(u.document, u.window, u.values[metric.name].denominator) for u in units]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Terms of an average, summed over the units of each group: ``[groups]``."""

    average: Average
    numerators: Floats
    denominators: Floats

    @classmethod
    def of(
        cls, units: Sequence[Unit], metric: Metric, group: np.ndarray[Any, np.dtype[np.intp]]
    ) -> "_Sums":
        values = np.array([unit.values[metric.name] for unit in units], dtype=np.float64)
        numerators, denominators = metric.average.terms(values[:, 0], values[:, 1])
        return cls(
            average=metric.average,
            numerators=np.bincount(group, weights=numerators).astype(np.float64),
            denominators=np.bincount(group, weights=denominators).astype(np.float64),
        )

    def figures(self, times: Floats) -> Floats:
        """The figure of each row of ``times`` ``[r, groups]``: how often each group counts."""
        return self.average.figure((times @ self.numerators) / (times @ self.denominators))


def _percentile_interval(
    drawn: Drawn, groups: int, figures: Callable[[Floats], Floats]
) -> Interval | None:
    """Of the figures for how often each group was drawn, ``[r, groups]``."""
    if groups < 2:
        return None
    rng = np.random.default_rng(SEED)
    rows = max(1, NUMBERS_AT_ONCE // groups)
    found = []
    for first in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - first)
        times = rng.multinomial(groups, np.full(groups, 1 / groups), size=size)
        found.append(figures(times.astype(np.float64)))
    low, high = np.quantile(np.concatenate(found), (0.025, 0.975))
    return Interval(low=float(low), high=float(high), drawn=drawn)


def _groups(units: Sequence[Unit]) -> tuple[Drawn, np.ndarray[Any, np.dtype[np.intp]]]:
    """What is drawn, and for each unit the number of its group."""
    documents = np.unique([unit.document for unit in units], return_inverse=True)[1]
    if documents.max() > 0:
        return "documents", documents
    return "windows", np.arange(len(units))
