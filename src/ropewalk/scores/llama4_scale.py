"""The query temperature of Llama 4 and Ministral 3, a staircase in the position.

    tau(m) = 1 + beta * ln(1 + floor((m + c) / F))

F   floor in tokens, up to which it is 1: the trained length in Ministral 3
c   counted: 1 where row m is taken for m + 1 keys (Llama 4), 0 for the position (Ministral 3)

Source: transformers 5.23.0, modeling_llama4.py (attention temperature tuning),
    modeling_ministral3.py (``llama_4_scaling_beta``).
Deviation: none.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import ScoreMod


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama4Scale(ScoreMod):
    """tau(m) = 1 + beta ln(1 + floor((m + c) / F)). RopewalkError for a negative beta."""

    beta: float
    floor: int
    counted: Literal[0, 1] = 0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise RopewalkError(f"llama_4_scaling_beta={self.beta}: expected 0 or more")

    def query_scale(self, rows: Tensor) -> Tensor:
        steps = torch.div(rows + self.counted, self.floor, rounding_mode="floor").double()
        return 1 + self.beta * torch.log1p(steps)
