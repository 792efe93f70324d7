"""What one window, document or trial gives: a numerator and a denominator by metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ropewalk.evaluation.averages import Average, OverTokens

_OVER_TOKENS = OverTokens()


class Ratio(NamedTuple):
    """A share of a figure before the one division."""

    numerator: float
    denominator: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What one window of one document gave (of a retrieval task: one trial), by metric's name."""

    document: int
    window: int
    values: Mapping[str, Ratio]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure over units: its name in their values, how they are weighed, and which is better."""

    name: str
    average: Average = _OVER_TOKENS
    better: Literal["lower", "higher"] = "lower"

    def badness(self, value: float) -> float:
        """The figure, or its negative: lower is better."""
        return value if self.better == "lower" else -value


LOSS = Metric(name="loss")
"""Nats over scored tokens."""
BITS_PER_BYTE = Metric(name="bits_per_byte")
"""Bits over the bytes of scored tokens."""


def total(units: Sequence[Unit], metric: Metric) -> Ratio:
    """Both sums over all units, whatever the average."""
    parts = [unit.values[metric.name] for unit in units]
    return Ratio(sum(part.numerator for part in parts), sum(part.denominator for part in parts))
