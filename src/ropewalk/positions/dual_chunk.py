"""Dual chunk attention (DCA): positions start again in every chunk of s tokens.

    P_k = n mod s
    P_q = m mod s                        keys of the row's own chunk        (intra)
        = min((m mod s) + s, c - 1)      keys of the chunk before           (successive)
        = c - 1                          keys of all earlier chunks         (inter)

s   chunk_size
w   local_window, c = s + w: distances up to w are true, and none exceeds c - 1

Source: An et al. 2024, Training-Free Long-Context Scaling of Large Language Models,
    arXiv:2402.17463, section 3.
Deviation: ChunkLlama lets positions grow to c instead of c - 1: its local_window is one less
    than here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.regions import ALL_KEYS, Region
from ropewalk.positions.reach import ReachingMap, check_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRegion(Region):
    """What the three regions share: keys at their place in their chunk."""

    chunk_size: int

    def key_positions(self, keys: Tensor) -> Tensor:
        return (keys % self.chunk_size).double()

    def _start(self, rows: Tensor, chunks_before: int) -> Tensor:
        """First token of the chunk so many before each row's own, 0 where there is none."""
        own = torch.div(rows, self.chunk_size, rounding_mode="floor")
        return ((own - chunks_before) * self.chunk_size).clamp(min=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intra(ChunkRegion):
    """Query and key in one chunk."""

    def query_positions(self, rows: Tensor) -> Tensor:
        return (rows % self.chunk_size).double()

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self._start(rows, 0), torch.full_like(rows, ALL_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Successive(ChunkRegion):
    """The key in the chunk before the query's."""

    largest_position: int

    def query_positions(self, rows: Tensor) -> Tensor:
        return (rows % self.chunk_size + self.chunk_size).clamp(max=self.largest_position).double()

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self._start(rows, 1), self._start(rows, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inter(ChunkRegion):
    """The key in any earlier chunk."""

    largest_position: int

    def query_positions(self, rows: Tensor) -> Tensor:
        return torch.full_like(rows, self.largest_position, dtype=torch.float64)

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), self._start(rows, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DualChunk(ReachingMap):
    """Positions inside chunks. Raises RopewalkError for a parameter below 1."""

    chunk_size: int
    local_window: int

    def __post_init__(self) -> None:
        check_tokens(self.chunk_size, "chunk_size")
        check_tokens(self.local_window, "local_window")

    @property
    def largest_position(self) -> int:
        """c - 1."""
        return self.chunk_size + self.local_window - 1

    @property
    def regions(self) -> tuple[Region, ...]:
        size, largest = self.chunk_size, self.largest_position
        return (
            Intra(chunk_size=size),
            Successive(chunk_size=size, largest_position=largest),
            Inter(chunk_size=size, largest_position=largest),
        )

    def reach(self, trained_length: int) -> int | None:
        """Any context for c <= L0; else as far as distances are true, at most L0."""
        if self.largest_position < trained_length:
            return None
        return min(trained_length, 2 * self.chunk_size)
