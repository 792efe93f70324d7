"""Qwen 1's dynamic NTK: the base grows in steps, as the context doubles.

    alpha(L) = max(2^ceil(log2(L / L0) + 1) - 1, 1)
    b(L) = b * alpha(L)^(d / (d - 2))

Source: Qwen/Qwen-14B, modeling_qwen.py (get_ntk_alpha, RotaryEmbedding).
Deviation: none.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry, rope_inv_freq
from ropewalk.frequencies.ntk_aware import check_exponent, stretched_base


@dataclass(frozen=True, slots=True, kw_only=True)
class PowersNTK(Frequencies):
    """RoPE whose base grows with powers of two of L / L0. Raises RopewalkError for d = 2."""

    geometry: RopeGeometry

    def __post_init__(self) -> None:
        check_exponent(self.geometry.rotary_dim)

    def inv_freq(self, context_length: int) -> Tensor:
        geometry = self.geometry
        doublings = math.ceil(math.log2(context_length / geometry.trained_length) + 1)
        alpha = max(2.0**doublings - 1, 1.0)
        base = stretched_base(geometry.rope_theta, geometry.rotary_dim, alpha)
        return rope_inv_freq(geometry.rotary_dim, base)

    @property
    def length_dependent(self) -> bool:
        return True
