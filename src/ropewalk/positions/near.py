"""The region that most maps share: near pairs, at their true distance."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.regions import ALL_KEYS, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Near(Region):
    """Pairs at distances D = m - n < window, at their true positions."""

    window: int

    def query_positions(self, rows: Tensor) -> Tensor:
        return rows.double()

    def key_positions(self, keys: Tensor) -> Tensor:
        return keys.double()

    def key_bounds(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return first_near(rows, self.window), torch.full_like(rows, ALL_KEYS)


def first_near(rows: Tensor, window: int) -> Tensor:
    """The first key at a distance below ``window``: where the far keys of a row end."""
    return (rows - window + 1).clamp(min=0)
