"""NTK-by-parts: leave fast pairs alone, interpolate slow pairs, blend in between.

    theta_i' = (1 - w_i) * theta_i + w_i * theta_i / s

s     factor
w_i   the share of interpolation that a ramp gives to pair i (see ``ramps``)

YaRN is this with an attention factor; Llama 3 is this with a ramp of its own.

Source: Peng et al. 2023, YaRN, arXiv:2309.00071, definition 2.
Deviation: the ramp that checkpoints were trained with is not the paper's; both are in ``ramps``.
"""

from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_factor, check_positive
from ropewalk.frequencies.ramps import Ramp


@dataclass(frozen=True, slots=True, kw_only=True)
class NTKByParts(Frequencies):
    """Frequencies blended pair by pair; ``magnitude`` is the attention factor.

    Raises RopewalkError for a factor below 1 or an odd rotary_dim.
    """

    geometry: RopeGeometry
    factor: float
    ramp: Ramp
    magnitude: float = 1.0

    def __post_init__(self) -> None:
        check_factor(self.factor)
        check_positive(self.magnitude, "attention_factor")
        check_even(self.geometry.rotary_dim)

    def inv_freq(self, context_length: int) -> Tensor:
        theta = self.geometry.inv_freq()
        share = self.ramp.interpolated(self.geometry)
        return (1 - share) * theta + share * (theta / self.factor)

    def attention_factor(self, context_length: int) -> float:
        return self.magnitude


def check_even(rotary_dim: int) -> None:
    """RopewalkError for an odd d, whose last pair the ramp of released code does not reach."""
    if rotary_dim % 2:
        raise RopewalkError(
            f"rotary_dim={rotary_dim}: a ramp over pairs needs an even rotary_dim; use linear"
        )
