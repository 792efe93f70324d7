"""Random queries, keys and values, and rows and score modifications to attend with."""

from dataclasses import dataclass

import torch

from ropewalk.core.rows import Rows
from ropewalk.core.score_mods import LayerShape, ScoreMod


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


def trained(encoding, heads, keys, queries, *, batch=1, width=12, head_dim=64, dtype=torch.float64):
    """Parameters of one layer, and what its biases read of random hidden states."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        shape = LayerShape(width=width, heads=heads, head_dim=head_dim)
        own = {name: sharpened(each.to(dtype)) for name, each in encoding.init(shape).items()}
    hidden = random(batch, keys, width, seed=9, dtype=dtype)
    of_queries = encoding.of_queries(own, hidden[:, keys - queries :])
    return {**own, **of_queries, **encoding.of_keys(own, hidden)}


def sharpened(table):
    """Tables so large that they decide where attention looks; rates and thresholds as they are."""
    return table / table.std() if table.ndim > 1 else table
