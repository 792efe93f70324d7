"""NTK-aware interpolation: a larger base, so that slow pairs slow down and fast pairs hardly.

    b' = b * s^(d / (d - 2)),     theta_i' = b'^(-2i/d)

The exponent makes the slowest pair turn exactly s times slower (as in linear interpolation)
while the fastest pair, theta_0 = 1, is left alone.

s   factor, d   rotary_dim (above 2), b   rope_theta

Source: bloc97 2023 (r/LocalLLaMA); Peng et al. 2023, YaRN, arXiv:2309.00071, definition 1.
Deviation: none.
"""

from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry, rope_inv_freq
from ropewalk.frequencies.checks import check_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class NTKAware(Frequencies):
    """RoPE with base b * factor^(d / (d - 2)). Raises RopewalkError for factor < 1 or d = 2."""

    geometry: RopeGeometry
    factor: float

    def __post_init__(self) -> None:
        check_factor(self.factor)
        check_exponent(self.geometry.rotary_dim)

    def inv_freq(self, context_length: int) -> Tensor:
        geometry = self.geometry
        base = stretched_base(geometry.rope_theta, geometry.rotary_dim, self.factor)
        return rope_inv_freq(geometry.rotary_dim, base)


def stretched_base(rope_theta: float, rotary_dim: int, stretch: float) -> float:
    """b * stretch^(d / (d - 2)): the slowest pair becomes ``stretch`` times slower."""
    return float(rope_theta * stretch ** (rotary_dim / (rotary_dim - 2)))


def check_exponent(rotary_dim: int) -> None:
    """RopewalkError where d / (d - 2) does not exist."""
    if rotary_dim <= 2:
        raise RopewalkError(
            f"rotary_dim={rotary_dim}: the NTK exponent d/(d-2) needs d > 2; use linear"
        )
