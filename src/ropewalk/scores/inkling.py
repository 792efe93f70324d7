"""Inkling's relative bias: each row mixes learned profiles of the distance.

    bias_h(m, n) = tau(m) r_h(x_m) . P[:, m - n]      0 <= m - n < extent,   else 0
    r_h(x) = W_h x

x_m   hidden state of the row. tau is 1, or where the model scales its queries, the same tau.

Parameters: inkling_profiles P ``[d_rel, extent]``, inkling_mix W ``[h * d_rel, width]``; of rows:
inkling_relative ``[b, m, h, d_rel]``.

Source: Thinking Machines' Inkling, transformers 5.23, modeling_inkling.py (d_rel 16, extent 1,024).
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import (
    Block,
    LayerShape,
    LearnedBias,
    Parameters,
    ScoreMod,
    parameter,
)
from ropewalk.scores.by_distance import gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Inkling(LearnedBias):
    """Profiles of the distance, mixed by hidden states.

    scale  what multiplies the bias of a row, as it does the row's query

    Raises RopewalkError for an extent or a width below 1.
    """

    extent: int = 1024
    width: int = 16
    scale: ScoreMod

    def __post_init__(self) -> None:
        if self.extent < 1 or self.width < 1:
            raise RopewalkError(
                f"inkling with rel_extent={self.extent}, d_rel={self.width}: expected at least 1"
            )

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        return {
            "inkling_profiles": torch.randn(self.width, self.extent) * 0.02,
            "inkling_mix": torch.randn(shape.heads * self.width, shape.width) * 0.02,
        }

    def of_queries(self, parameters: Parameters, hidden: Tensor) -> dict[str, Tensor]:
        mix = parameter(parameters, "inkling_mix")
        mixed = hidden.to(mix.dtype) @ mix.T
        return {"inkling_relative": mixed.view(*hidden.shape[:2], -1, self.width)}

    def bias(self, parameters: Parameters, block: Block) -> Tensor:
        relative = parameter(parameters, "inkling_relative")[block.batch, block.queries]
        scores = (relative @ parameter(parameters, "inkling_profiles")).transpose(1, 2)
        distances = block.distances
        found = gathered(scores, distances.clamp(0, self.extent - 1))
        beyond = (distances < 0) | (distances >= self.extent)
        tau = self.scale.query_scale(block.rows).to(found.dtype)[:, None]
        return found.masked_fill(beyond[:, None], 0.0) * tau
