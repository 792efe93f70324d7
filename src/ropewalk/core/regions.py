"""Position maps: which distance a pair of tokens is shown.

A map splits the causal triangle into disjoint regions. Inside one region every query has
one position and every key has one position, and every query's keys are consecutive, so that
a region is an ordinary rotary attention over a band.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

ALL_KEYS = 2**62
"""A ``stop`` beyond every key."""


class Region(ABC):
    """Part of the causal triangle with positions of its own. Pure; positions are float64."""

    @abstractmethod
    def query_positions(self, rows: Tensor) -> Tensor:
        """Position of each query, same shape as ``rows`` (true indices m)."""

    @abstractmethod
    def key_positions(self, keys: Tensor) -> Tensor:
        """Position of each key, same shape as ``keys`` (true indices n)."""

    @abstractmethod
    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys ``start <= n < stop`` of each row, each int64 of the shape of ``rows``.

        Neither bound falls as rows grow. ``stop`` may lie beyond m + 1, and ``start`` at or
        after ``stop`` means that the row has no key here.
        """

    def covers(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Bool, broadcast of ``rows`` and ``keys``: the pairs of this region.

        Asked about pairs of the causal triangle only (n <= m).
        """
        start, stop = self.key_bounds(rows)
        return (start <= keys) & (keys < stop)


class PositionMap(ABC):
    """Regions that cover the causal triangle exactly once."""

    @property
    @abstractmethod
    def regions(self) -> tuple[Region, ...]:
        """The regions, in no particular order."""


@dataclass(frozen=True, slots=True)
class WholeTriangle(Region):
    """Every pair, at its true positions."""

    def query_positions(self, rows: Tensor) -> Tensor:
        return rows.double()

    def key_positions(self, keys: Tensor) -> Tensor:
        return keys.double()

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(rows), torch.full_like(rows, ALL_KEYS)

    def covers(self, rows: Tensor, keys: Tensor) -> Tensor:
        return torch.ones_like(rows - keys, dtype=torch.bool)


@dataclass(frozen=True, slots=True)
class Identity(PositionMap):
    """A pair is shown its true distance m - n."""

    @property
    def regions(self) -> tuple[Region, ...]:
        return (WholeTriangle(),)
