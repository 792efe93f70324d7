"""Dynamic NTK: the NTK-aware base grows with the context length.

    b(L) = b * (a L / L0 - (a - 1))^(d / (d - 2))     for L > L0, else b

Up to the trained length L0 nothing changes. a = 1 stretches by exactly L / L0.

a   factor (called alpha where it was first published), d   rotary_dim, b   rope_theta

Source: emozilla 2023 (r/LocalLLaMA); NormXU 2023, Consistent-DynamicNTKRoPE;
    Peng et al. 2023, YaRN, arXiv:2309.00071, section 3.3 for the dynamic schedule.
Deviation: the paper stretches by L / L0 (a = 1); released code by the line above. Which L a
    row and its keys see is not decided here but by the encoding's length policy.
"""

from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry, rope_inv_freq
from ropewalk.frequencies.checks import check_factor
from ropewalk.frequencies.ntk_aware import check_exponent, stretched_base


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicNTK(Frequencies):
    """RoPE whose base depends on L. Raises RopewalkError for factor < 1 or d = 2."""

    geometry: RopeGeometry
    factor: float

    def __post_init__(self) -> None:
        check_factor(self.factor)
        check_exponent(self.geometry.rotary_dim)

    def inv_freq(self, context_length: int) -> Tensor:
        return rope_inv_freq(self.geometry.rotary_dim, self.base(context_length))

    def base(self, context_length: int) -> float:
        """b(L)."""
        geometry = self.geometry
        if context_length <= geometry.trained_length:
            return geometry.rope_theta
        growth = context_length / geometry.trained_length
        stretch = self.factor * growth - (self.factor - 1)
        return stretched_base(geometry.rope_theta, geometry.rotary_dim, stretch)

    @property
    def length_dependent(self) -> bool:
        return True
