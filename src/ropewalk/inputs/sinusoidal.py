"""Sinusoidal absolute positions: sines and cosines of the position, added to embeddings.

    x_m = sqrt(d) e_m + P(m)
    P(m)[2i] = sin(m w_i),   P(m)[2i + 1] = cos(m w_i),   w_i = 10000^(-2i / d)

d   width of the hidden states

P(m) . P(n) is the sum of cos((m - n) w_i): a function of the distance alone.

Source: Vaswani et al. 2017, arXiv:1706.03762, sections 3.4 (the scale) and 3.5.
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import rope_inv_freq
from ropewalk.core.inputs import InputEncoding
from ropewalk.core.score_mods import Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinusoidal(InputEncoding):
    """Sines in even channels, cosines in odd ones. Raises RopewalkError for a base up to 1."""

    base: float = 10000.0

    def __post_init__(self) -> None:
        if not 1 < self.base < float("inf"):
            raise RopewalkError(f"base={self.base}: expected a finite number above 1")

    def embedding_scale(self, width: int) -> float:
        scale: float = width**0.5
        return scale

    def added(self, parameters: Parameters, positions: Tensor, width: int) -> Tensor:
        angles = positions.double()[..., None] * rope_inv_freq(width, self.base).to(
            positions.device
        )
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., :width]
