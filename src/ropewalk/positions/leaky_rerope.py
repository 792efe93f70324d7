"""Leaky ReRoPE: distances are true inside a window and grow k times slower beyond it.

    P(D) = D if D < w else w + (D - w) / k,   D = m - n

w   window
k   slope: above 1 distances are squeezed, below 1 they are stretched (the inverse use, in
    training), at infinity this would be ReRoPE

Source: Su 2023, kexue.fm/archives/9708 (k > 1) and 9728 (k < 1); bojone/rerope.
Deviation: none.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.regions import Region
from ropewalk.positions.near import Near, first_near
from ropewalk.positions.reach import ReachingMap, check_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Sloped(Region):
    """Pairs at distances of ``window`` and more, at window + (D - window) / slope."""

    window: int
    slope: float

    def query_positions(self, rows: Tensor) -> Tensor:
        return self.window + (rows.double() - self.window) / self.slope

    def key_positions(self, keys: Tensor) -> Tensor:
        return keys.double() / self.slope

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), first_near(rows, self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakyReRoPE(ReachingMap):
    """D inside ``window``, window + (D - window) / slope beyond.

    Raises RopewalkError for a window below 1 or unless 0 < slope < infinity.
    """

    window: int
    slope: float

    def __post_init__(self) -> None:
        check_tokens(self.window, "window")
        if not 0 < self.slope < float("inf"):
            raise RopewalkError(f"slope={self.slope}: expected a finite number above 0")

    @property
    def regions(self) -> tuple[Region, ...]:
        return (Near(window=self.window), Sloped(window=self.window, slope=self.slope))

    def reach(self, trained_length: int) -> int | None:
        """w + k (L0 - w), rounded up; L0 where w is not below it."""
        if self.window >= trained_length:
            return trained_length
        return math.ceil(self.window + self.slope * (trained_length - self.window))
