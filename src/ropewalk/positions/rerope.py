"""ReRoPE: distances are true inside a window and constant beyond it.

    P(D) = D if D < w else w,   D = m - n

w   window: every key at or beyond it is shown at distance w

Source: Su 2023, kexue.fm/archives/9708 (Rectified Rotary Position Embeddings); bojone/rerope.
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.regions import Region
from ropewalk.positions.near import Near, first_near
from ropewalk.positions.reach import ReachingMap, check_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Region):
    """Pairs at distances of ``window`` and more, all shown at that distance."""

    window: int

    def query_positions(self, rows: Tensor) -> Tensor:
        return torch.full_like(rows, self.window, dtype=torch.float64)

    def key_positions(self, keys: Tensor) -> Tensor:
        return torch.zeros_like(keys, dtype=torch.float64)

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), first_near(rows, self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReRoPE(ReachingMap):
    """min(D, window). Raises RopewalkError for a window below 1."""

    window: int

    def __post_init__(self) -> None:
        check_tokens(self.window, "window")

    @property
    def regions(self) -> tuple[Region, ...]:
        return (Near(window=self.window), Constant(window=self.window))

    def reach(self, trained_length: int) -> int | None:
        """Any context for w < L0; else L0, as distances below w are true."""
        return None if self.window < trained_length else trained_length
