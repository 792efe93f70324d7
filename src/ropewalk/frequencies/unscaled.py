"""Plain RoPE: every pair turns as in training, at any length.

    theta_i = b^(-2i/d)

d   rotary_dim, b   rope_theta, i   the pair, 0 .. ceil(d/2) - 1

Source: Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.2.2.
Deviation: none.
"""

from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Unscaled(Frequencies):
    """theta_i = b^(-2i/d), whatever the context length."""

    geometry: RopeGeometry

    def inv_freq(self, context_length: int) -> Tensor:
        return self.geometry.inv_freq()
