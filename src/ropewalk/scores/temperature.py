"""Temperature: every logit is multiplied by one constant.

    tau(m) = tau

Above 1 attention becomes sharper. Unlike an attention factor, which acts on the rotary channels
only and enters twice, tau acts on the whole logit and enters once.

Source: Peng et al. 2023, YaRN, arXiv:2309.00071, equation 21, where tau = 1 / t.
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import ScoreMod


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature(ScoreMod):
    """tau for every row. Raises RopewalkError unless 0 < tau < infinity."""

    tau: float

    def __post_init__(self) -> None:
        if not 0 < self.tau < float("inf"):
            raise RopewalkError(f"tau={self.tau}: expected a finite number above 0")

    def query_scale(self, rows: Tensor) -> Tensor:
        return torch.full_like(rows, self.tau, dtype=torch.float64)
