"""Intervals: how much a figure would move with other texts of the same kind.

Documents are drawn with replacement, and the token-weighted mean

    sum of nll over the drawn documents / sum of their tokens

is taken anew; the 2.5 % and 97.5 % points of these means are the 95 % percentile interval.
With one document its windows are drawn instead. Windows of one document are less
independent than documents, so that interval is too narrow for other documents: a record
says which was drawn.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ropewalk.core.errors import RopewalkError

Floats = np.ndarray[Any, np.dtype[np.float64]]
Drawn = Literal["documents", "windows"]

RESAMPLES = 4_000
SEED = 20_230_831


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSum:
    """What one window of one document gave: nll in nats, tokens scored, their bytes."""

    document: int
    window: int
    nll: float
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """95 % interval in nats per token, and what was drawn."""

    low: float
    high: float
    drawn: Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Mean nll minus the baseline's, in nats per token: below zero is better."""

    nll: float
    interval: Interval | None


def mean_nll(units: Sequence[UnitSum]) -> float:
    """Nats per token over all units: one division, never a mean of means."""
    return sum(unit.nll for unit in units) / sum(unit.tokens for unit in units)


def interval(units: Sequence[UnitSum]) -> Interval | None:
    """Interval of ``mean_nll``; None for a single unit, which says nothing about spread."""
    sums = np.array([unit.nll for unit in units])
    return _percentile_interval(units, sums)


def paired_difference(units: Sequence[UnitSum], baseline: Sequence[UnitSum]) -> Difference:
    """Difference to a baseline over the same targets, both drawn together.

    Much narrower than the two intervals suggest, since what makes one text harder than
    another makes it harder for both.

    Raises RopewalkError unless both have the same units with the same tokens.
    """
    if [_targets(unit) for unit in units] != [_targets(unit) for unit in baseline]:
        raise RopewalkError(
            "a paired difference of cells with other targets: expected the same protocol, "
            "documents and windows; measure both in one run"
        )
    sums = np.array([ours.nll - theirs.nll for ours, theirs in zip(units, baseline, strict=True)])
    nll = float(sums.sum()) / sum(unit.tokens for unit in units)
    return Difference(nll=nll, interval=_percentile_interval(units, sums))


def _targets(unit: UnitSum) -> tuple[int, int, int]:
    return unit.document, unit.window, unit.tokens


def _percentile_interval(units: Sequence[UnitSum], sums: Floats) -> Interval | None:
    drawn, group = _groups(units)
    count = int(group.max()) + 1
    if count < 2:
        return None
    tokens = np.bincount(group, weights=[unit.tokens for unit in units])
    totals = np.bincount(group, weights=sums)
    rng = np.random.default_rng(SEED)
    times_drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    means = (times_drawn @ totals) / (times_drawn @ tokens)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(low=float(low), high=float(high), drawn=drawn)


def _groups(units: Sequence[UnitSum]) -> tuple[Drawn, np.ndarray[Any, np.dtype[np.intp]]]:
    """What is drawn, and for each unit the number of its group."""
    documents = np.unique([unit.document for unit in units], return_inverse=True)[1]
    if documents.max() > 0:
        return "documents", documents
    return "windows", np.arange(len(units))
