"""xPos: RoPE whose products decay with the distance, faster pairs more.

    w_q(m) = zeta_i^(m / B) exp(i m theta_i),    w_k(n) = zeta_i^(-n / B) exp(i n theta_i)
    zeta_i = (2i / d + gamma) / (1 + gamma)

so that a product at distance D = m - n is multiplied by zeta_i^(D / B).

B   scale_base, in tokens;  d   rotary_dim;  theta_i   of unscaled RoPE

Source: Sun et al. 2022, A Length-Extrapolatable Transformer, arXiv:2212.10554, section 3.3,
    algorithm 1; microsoft/torchscale for B = 512 and gamma = 0.4.
Deviation: released code counts positions from the middle of a call, which makes another origin in
    each call of a stream, and its sizes leave float16 at 9,216 tokens and bfloat16 between 65,000
    and 82,000. Here rows share an origin at multiples of B, and keys before it are at most 1 in
    size; scores are those of the formula. Causal models only, as in the source.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.frequencies import Frequencies, Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class XPos(Frequencies):
    """theta of unscaled RoPE, sizes zeta^(+-p / scale_base).

    Raises RopewalkError for a scale_base below 1 or a gamma that is not above 0.
    """

    geometry: RopeGeometry
    scale_base: int = 512
    gamma: float = 0.4

    def __post_init__(self) -> None:
        check_positive(self.scale_base, "scale_base")
        check_positive(self.gamma, "gamma")

    def inv_freq(self, context_length: int) -> Tensor:
        return self.geometry.inv_freq()

    @property
    def zeta(self) -> Tensor:
        """What a distance of scale_base leaves of each pair's product, float64 ``[f]``."""
        width = self.geometry.rotary_dim
        share = torch.arange(0, width, 2, dtype=torch.float64) / width
        return (share + self.gamma) / (1 + self.gamma)

    @property
    def tile_rows(self) -> int:
        return self.scale_base

    def size(self, positions: Tensor, lengths: int | Tensor, side: Side) -> Tensor:
        steps = positions.double()[..., None] / self.scale_base
        signed = steps if side is Side.QUERY else -steps
        return torch.exp(signed * self.zeta.to(positions.device).log())
