"""Proportional RoPE (p-RoPE): only the fastest share of the pairs turns.

    theta_i' = b^(-2i/d) / s   for i < floor(p d / 2), else 0

Exponents run over the whole d, so that the pairs that turn keep their frequencies. Pairs at 0
carry content without position at any distance.

p   partial_rotary_factor, s   factor, d   rotary_dim

Source: Barbero et al. 2024, Round and Round We Go!, arXiv:2410.06205, section 6 (p-RoPE);
    Gemma 4's released code for the division by s.
Deviation: the paper has no factor.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportional(Frequencies):
    """RoPE with its slow tail at exactly 0.

    Raises RopewalkError for a share outside [0, 1] or a factor below 1.
    """

    geometry: RopeGeometry
    partial_rotary_factor: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        check_factor(self.factor)
        if not 0 <= self.partial_rotary_factor <= 1:
            raise RopewalkError(
                f"partial_rotary_factor={self.partial_rotary_factor}: expected a share in [0, 1]"
            )

    def inv_freq(self, context_length: int) -> Tensor:
        theta = self.geometry.inv_freq() / self.factor
        rotating = int(self.partial_rotary_factor * self.geometry.rotary_dim // 2)
        return torch.cat([theta[:rotating], torch.zeros_like(theta[rotating:])])
