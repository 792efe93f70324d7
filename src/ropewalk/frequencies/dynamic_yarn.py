"""Dynamic YaRN: YaRN whose factor follows the context length.

    s(L) = max(1, L / L0)
    theta_i(L) = NTK-by-parts with factor s(L),  attention factor m(s(L), 1)

Up to the trained length L0 this is plain RoPE; no factor needs to be chosen.

Source: Peng et al. 2023, YaRN, arXiv:2309.00071, section 3.3; jquesnelle/yarn, dynamic class.
Deviation: released code never shrinks the factor again when a shorter sequence follows a longer
    one; here it depends on L alone.
"""

from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.ntk_by_parts import NTKByParts, check_even
from ropewalk.frequencies.ramps import Ramp
from ropewalk.frequencies.yarn_magnitude import yarn_mscale


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicYaRN(Frequencies):
    """NTK-by-parts and YaRN's magnitude at s = max(1, L / L0)."""

    geometry: RopeGeometry
    ramp: Ramp

    def __post_init__(self) -> None:
        check_even(self.geometry.rotary_dim)

    def at(self, context_length: int) -> NTKByParts:
        """YaRN with the factor of one L."""
        factor = max(1.0, context_length / self.geometry.trained_length)
        return NTKByParts(
            geometry=self.geometry,
            factor=factor,
            ramp=self.ramp,
            magnitude=yarn_mscale(factor),
        )

    def inv_freq(self, context_length: int) -> Tensor:
        return self.at(context_length).inv_freq(context_length)

    def attention_factor(self, context_length: int) -> float:
        return self.at(context_length).magnitude

    @property
    def length_dependent(self) -> bool:
        return True
