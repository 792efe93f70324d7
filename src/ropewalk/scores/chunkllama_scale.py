"""ChunkLlama's scale: logits grow with the context beyond the trained length.

    tau(m) = (0.05 ln(max(1, (m + 1) / L0)) + 1)^2

Source: HKUNLP/ChunkLlama, get_mscale; no part of arXiv:2402.17463, whose results do not use it.
Deviation: released code multiplies turned queries and keys by 0.05 ln(l / L0) + 1, so the rotary
    channels alone, with l the sequence so far for all rows of a call, and keys keep the factor of
    the call that wrote them. Here every row has its own length, as in decoding, and its keys take
    the row's: at 8 L0 a row in the middle of a prompt is scaled by 1.143, not by 1.219.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.score_mods import ScoreMod


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLlamaScale(ScoreMod):
    """tau(m) = (0.05 ln(max(1, (m + 1) / L0)) + 1)^2."""

    trained_length: int

    def query_scale(self, rows: Tensor) -> Tensor:
        growth = (rows.double() + 1) / self.trained_length
        return (0.05 * torch.log(growth.clamp(min=1)) + 1) ** 2
