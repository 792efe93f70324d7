"""Linear interpolation (PI): every pair turns s times slower.

    theta_i' = theta_i / s

s   factor. Distances up to s * L0 are squeezed into the trained ones; neighbours too.

Source: Chen et al. 2023, Position Interpolation, arXiv:2306.15595, equation 3.
Deviation: none.
"""

from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Frequencies):
    """theta_i / factor. Raises RopewalkError for a factor below 1."""

    geometry: RopeGeometry
    factor: float

    def __post_init__(self) -> None:
        check_factor(self.factor)

    def inv_freq(self, context_length: int) -> Tensor:
        return self.geometry.inv_freq() / self.factor
