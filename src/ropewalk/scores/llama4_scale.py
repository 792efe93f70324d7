"""The query temperature of Llama 4 and Ministral 3, a staircase in the position.

    tau(m) = 1 + beta * ln(1 + floor(m / L0))

Up to the trained length L0 it is 1.

Source: Llama 4's released code (attention temperature tuning); Ministral 3's configuration key
    ``llama_4_scaling_beta``.
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import ScoreMod


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama4Scale(ScoreMod):
    """tau(m) = 1 + beta ln(1 + floor(m / L0)). Raises RopewalkError for a negative beta."""

    beta: float
    trained_length: int

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise RopewalkError(f"llama_4_scaling_beta={self.beta}: expected 0 or more")

    def query_scale(self, rows: Tensor) -> Tensor:
        steps = torch.div(rows, self.trained_length, rounding_mode="floor").double()
        return 1 + self.beta * torch.log1p(steps)
