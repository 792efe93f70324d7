"""The ramp's four numbers: NTK-by-parts with cut-offs, factor and magnitude free.

    point in [0, 1]^4  ->  beta_fast, beta_fast / beta_slow, factor, magnitude

The first three are spread by their logarithms: 1 to 64 turns, a ratio of 1 to 64, and 0.75 s to
2 s (at least 1). The magnitude goes from 1 to 1 + 0.15 ln s; YaRN's is 1 + 0.1 ln s.

s   N / L0
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.ramps import IndexRamp
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.schedules import stretch

MOST_TURNS = 64.0
MOST_RATIO = 64.0
FACTORS = (0.75, 2.0)
MOST_MAGNITUDE = 0.15
NUMBERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """beta_fast and beta_slow in turns inside the trained length, factor and magnitude."""

    beta_fast: float
    beta_slow: float
    factor: float
    magnitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RampSpace:
    """Ramps over a geometry, for ``length`` tokens."""

    geometry: RopeGeometry
    length: int

    def ramp(self, point: Sequence[float]) -> Ramp:
        """Of a point in the unit cube."""
        fast = MOST_TURNS ** point[0]
        low, high = self._factors
        return Ramp(
            beta_fast=fast,
            beta_slow=fast / MOST_RATIO ** point[1],
            factor=low * (high / low) ** point[2],
            magnitude=1 + self._magnitude * point[3],
        )

    def point(self, ramp: Ramp) -> tuple[float, ...]:
        """The nearest point of the unit cube."""
        low, high = self._factors
        across = math.log(high / low)
        raw = (
            math.log(ramp.beta_fast, MOST_TURNS),
            math.log(ramp.beta_fast / ramp.beta_slow, MOST_RATIO),
            math.log(ramp.factor / low) / across if across else 0.0,
            (ramp.magnitude - 1) / self._magnitude if self._magnitude else 0.0,
        )
        return tuple(min(1.0, max(0.0, each)) for each in raw)

    def candidate(self, point: Sequence[float]) -> Candidate:
        """The divisors and the magnitude of a point."""
        ramp = self.ramp(point)
        frequencies = NTKByParts(
            geometry=self.geometry,
            factor=ramp.factor,
            ramp=IndexRamp(beta_fast=ramp.beta_fast, beta_slow=ramp.beta_slow, truncate=False),
            magnitude=ramp.magnitude,
        )
        return Candidate.from_frequencies(frequencies, self.length)

    def starts(self) -> tuple[tuple[float, ...], ...]:
        """YaRN and the closed-form ramp."""
        s = stretch(self.geometry, self.length)
        yarn = Ramp(beta_fast=32, beta_slow=1, factor=s, magnitude=1 + 0.1 * math.log(s))
        ramp = Ramp(beta_fast=4, beta_slow=1, factor=s, magnitude=1.0)
        return self.point(yarn), self.point(ramp)

    @property
    def _factors(self) -> tuple[float, float]:
        s = stretch(self.geometry, self.length)
        return max(1.0, FACTORS[0] * s), FACTORS[1] * s

    @property
    def _magnitude(self) -> float:
        return MOST_MAGNITUDE * math.log(stretch(self.geometry, self.length))
