"""Log scaling above a floor: logits grow slowly once a row sees more keys than the floor.

    tau(m) = 1 + alpha ln(max(1, (m + 1) / F))

F   log_scaling_n_floor, alpha   log_scaling_alpha

Source: Thinking Machines' Inkling, transformers 5.23, modeling_inkling.py (F 128,000, alpha 0.1).
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import ScoreMod


@dataclass(frozen=True, slots=True, kw_only=True)
class NFloor(ScoreMod):
    """tau(m) = 1 + alpha ln(max(1, (m + 1) / floor)). RopewalkError for a floor below 1."""

    floor: int
    alpha: float = 0.1

    def __post_init__(self) -> None:
        if self.floor < 1 or not 0 <= self.alpha < float("inf"):
            raise RopewalkError(
                f"log_scaling_n_floor={self.floor}, log_scaling_alpha={self.alpha}: expected a "
                "floor of at least 1 token and an alpha of 0 or more"
            )

    def query_scale(self, rows: Tensor) -> Tensor:
        return 1 + self.alpha * torch.log(((rows.double() + 1) / self.floor).clamp(min=1))
