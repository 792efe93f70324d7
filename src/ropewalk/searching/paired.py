"""Paired differences over documents, with Student's 95 % interval.

    mean d  +-  t(n - 1) * s / sqrt(n),   d_j = a_j - b_j,   s^2 = sum (d_j - mean d)^2 / (n - 1)

What makes one document harder than another makes it harder for both, so that few documents tell
two candidates apart. Student's interval is wider than a bootstrap's where documents are few.

Source: Student 1908, The Probable Error of a Mean; quantiles from tables of the t distribution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % points for 1 to 30 degrees of freedom; the last serves all above, where it is wider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A mean difference and its 95 % interval; of one document, minus to plus infinity."""

    value: float
    low: float
    high: float

    def record(self) -> dict[str, Any]:
        """As one JSON object."""
        return {"value": self.value, "ci95": [self.low, self.high]}

    @property
    def below_zero(self) -> bool:
        """Whether the first is lower, by the interval."""
        return self.high < 0

    @property
    def above_zero(self) -> bool:
        """Whether the first is higher, by the interval."""
        return self.low > 0


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Of two candidates' values over the same documents; infinite where one failed on any."""
    if not all(map(math.isfinite, first)):
        return Difference(value=math.inf, low=math.inf, high=math.inf)
    if not all(map(math.isfinite, second)):
        return Difference(value=-math.inf, low=-math.inf, high=-math.inf)
    apart = [a - b for a, b in zip(first, second, strict=True)]
    mean = sum(apart) / len(apart)
    if len(apart) < 2:
        return Difference(value=mean, low=-math.inf, high=math.inf)
    freedom = len(apart) - 1
    spread = math.sqrt(sum((each - mean) ** 2 for each in apart) / freedom / len(apart))
    room = _QUANTILES[min(freedom, len(_QUANTILES)) - 1] * spread
    return Difference(value=mean, low=mean - room, high=mean + room)
