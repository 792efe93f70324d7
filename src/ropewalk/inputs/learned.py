"""Learned absolute positions: a vector for each position, up to the length of the table.

    x_m = e_m + P[m]

Parameters: learned_positions P ``[L0, width]``. There is nothing past the table.

Source: Gehring et al. 2017, arXiv:1705.03122, section 3.1; Radford et al. 2019, GPT-2.
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.inputs import InputEncoding
from ropewalk.core.score_mods import Parameters, parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedPositions(InputEncoding):
    """A table of ``rows`` vectors."""

    rows: int

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= 2**24:
            raise RopewalkError(f"learned positions: rows={self.rows}: expected 1 to 2^24")

    def init(self, width: int) -> dict[str, Tensor]:
        return {"learned_positions": torch.randn(self.rows, width) * 0.02}

    def added(self, parameters: Parameters, positions: Tensor, width: int) -> Tensor:
        table = parameter(parameters, "learned_positions")
        last = int(positions.max())
        if last >= len(table):
            raise RopewalkError(
                f"position {last} of a learned table with {len(table)} rows: expected at most "
                f"{len(table)} tokens; a longer table has to be trained"
            )
        return table[positions]
