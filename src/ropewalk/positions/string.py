"""STRING: far distances are shifted back to where training saw them often.

    P(D) = D if D < S else D - S + W,   D = m - n

S   shift: distances that are dropped from the far end; beyond it all are shifted by S - W
W   window: the nearest position that a shifted distance may take, W <= S

Source: An et al. 2024, Why Does the Effective Context Length of LLMs Fall Short?,
    arXiv:2410.18745, section 4.
Deviation: none in the map; see ``ropewalk.methods.string`` for the magnitude of released code.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.regions import Region
from ropewalk.positions.near import Near, first_near
from ropewalk.positions.reach import ReachingMap, check_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted(Region):
    """Pairs at distances of ``shift`` and more, nearer by shift - window."""

    shift: int
    window: int

    def query_positions(self, rows: Tensor) -> Tensor:
        return (rows - self.shift + self.window).double()

    def key_positions(self, keys: Tensor) -> Tensor:
        return keys.double()

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), first_near(rows, self.shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedRoPE(ReachingMap):
    """D below ``shift``, D - shift + window from there on.

    Raises RopewalkError for a parameter below 1 or a window above the shift.
    """

    shift: int
    window: int

    def __post_init__(self) -> None:
        check_tokens(self.shift, "shift")
        check_tokens(self.window, "window")
        if self.window > self.shift:
            raise RopewalkError(
                f"window={self.window}: expected at most the shift, {self.shift}, so that far "
                "distances become shorter; lower it"
            )

    @property
    def regions(self) -> tuple[Region, ...]:
        return (Near(window=self.shift), Shifted(shift=self.shift, window=self.window))

    def reach(self, trained_length: int) -> int | None:
        """L0 + S - W; L0 where S exceeds it."""
        if self.shift > trained_length:
            return trained_length
        return trained_length + self.shift - self.window
