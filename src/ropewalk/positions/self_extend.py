"""Self-Extend: true distances inside a window, distances between groups of tokens beyond it.

    P(D) = D if D < W else floor(m / G) - floor(n / G) + W - floor(W / G),   D = m - n

W   window
G   group_size: tokens that share one far position

Source: Jin et al. 2024, LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning,
    arXiv:2401.01325, section 3.
Deviation: LongLM's prefill computes the shift as W - W / G, its decoding as above. They differ by
    W / G - floor(W / G), below one token, where G does not divide W: LongLMSelfExtend is the
    former.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.regions import Region
from ropewalk.positions.near import Near, first_near
from ropewalk.positions.reach import ReachingMap, check_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped(Region):
    """Pairs at distances of ``window`` and more, at floor(m / G) + shift - floor(n / G)."""

    window: int
    group_size: int
    shift: float

    def query_positions(self, rows: Tensor) -> Tensor:
        return self._groups(rows) + self.shift

    def key_positions(self, keys: Tensor) -> Tensor:
        return self._groups(keys)

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), first_near(rows, self.window)

    def _groups(self, index: Tensor) -> Tensor:
        return torch.div(index, self.group_size, rounding_mode="floor").double()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfExtend(ReachingMap):
    """Grouped positions beyond ``window``. Raises RopewalkError for a parameter below 1."""

    group_size: int
    window: int

    def __post_init__(self) -> None:
        check_tokens(self.group_size, "group_size")
        check_tokens(self.window, "window")

    @property
    def shift(self) -> float:
        """What moves grouped distances to where the window ends: W - floor(W / G)."""
        return self.window - self.window // self.group_size

    @property
    def regions(self) -> tuple[Region, ...]:
        far = Grouped(window=self.window, group_size=self.group_size, shift=self.shift)
        return (Near(window=self.window), far)

    def reach(self, trained_length: int) -> int | None:
        """(L0 - shift) G, which is (L0 - W) G + W where G divides W; L0 where W exceeds it."""
        if self.window > trained_length:
            return trained_length
        return max(trained_length, math.ceil(trained_length - self.shift) * self.group_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongLMSelfExtend(SelfExtend):
    """Self-Extend with the shift W - W / G of LongLM's prefill."""

    @property
    def shift(self) -> float:
        return self.window - self.window / self.group_size
