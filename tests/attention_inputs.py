"""Random queries, keys and values, and rows and score modifications to attend with."""

from dataclasses import dataclass

import torch

from ropewalk.core.rows import Rows
from ropewalk.core.score_mods import ScoreMod


@dataclass(frozen=True)
class Slopes(ScoreMod):
    """ALiBi's shape: every head falls off with the distance at a rate of its own."""

    def bias(self, heads, rows, keys):
        slopes = 0.5 ** torch.arange(1, heads + 1, dtype=torch.float64)
        return slopes.view(-1, *[1] * (rows - keys).ndim) * (keys - rows)


@dataclass(frozen=True)
class Growing(ScoreMod):
    """tau(m) = 1 + log(1 + m)."""

    def query_scale(self, rows):
        return 1 + torch.log1p(rows.double())


@dataclass(frozen=True, eq=False)
class PaddedSliding(Rows):
    """The last m of n slots, with ``padding`` slots on the left of each row, seeing ``window``."""

    query_positions: torch.Tensor
    key_positions: torch.Tensor
    padding: torch.Tensor
    window: int

    @classmethod
    def of(cls, padding, queries, keys, window):
        padding = torch.tensor(padding)
        positions = (torch.arange(keys)[None] - padding[:, None]).clamp(min=0)
        return cls(positions[:, keys - queries :], positions, padding, window)

    def allowed(self, first, last):
        keys = self.key_positions.shape[1]
        before = keys - self.query_positions.shape[1]
        slots = torch.arange(before + first, before + last)[:, None]
        key = torch.arange(before + last)[None]
        seen = (key <= slots) & (slots - key < self.window)
        real = key >= self.padding[:, None, None]
        return before + last, (seen[None] & real)[:, None]


def random(*shape, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def qkv(batch=2, heads=4, key_heads=2, queries=9, keys=13, width=8, values=5, *, dtype=None):
    shapes = ((heads, queries, width), (key_heads, keys, width), (key_heads, keys, values))
    return [
        random(batch, *shape, seed=seed, dtype=dtype or torch.float64)
        for seed, shape in enumerate(shapes)
    ]
