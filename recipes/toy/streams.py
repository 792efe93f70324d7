"""What the toy model is trained on: streams of token ids in which most tokens can be looked up.

    copying    spans of random tokens; with probability 3/4 a span is one of the last 250 tokens
               again (as ``induction`` asks)
    pairs      key : value , with random keys and values; with probability 0.7 one of the last 60
               pairs again (as ``key_value`` asks)

Each stream has a vocabulary of its own, of 32 tokens to all: the fewer they are, the sooner copying
them pays, which is learned before looking up. Any window of a stream is as good as any other, so
that the trainer's random windows serve.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

REACH_TOKENS = 250
REACH_PAIRS = 60
STREAM_TOKENS = 512


def streams(tokens: int, pool: np.ndarray, separators: tuple[int, int], seed: int) -> Tensor:
    """Ids int32 ``[tokens]``: streams of 512 tokens of the two kinds in turn."""
    rng = np.random.default_rng(seed)
    made: list[int] = []
    while len(made) < tokens:
        few = rng.choice(pool, int(32 * (len(pool) / 32) ** rng.random()), replace=False)
        made += _first(copying(rng, few), STREAM_TOKENS)
        made += _first(pairs(rng, few, separators), STREAM_TOKENS)
    return torch.tensor(made[:tokens], dtype=torch.int32)


def copying(rng: np.random.Generator, pool: np.ndarray) -> Iterator[int]:
    """Random tokens and copies of earlier ones, without end."""
    held: list[int] = []
    while True:
        size = int(rng.integers(8, 33))
        if len(held) > size and rng.random() < 0.75:
            back = int(rng.integers(size, min(len(held), REACH_TOKENS) + 1))
            span = held[len(held) - back :][:size]
        else:
            span = rng.choice(pool, size).tolist()
        held += span
        yield from span


def pairs(rng: np.random.Generator, pool: np.ndarray, separators: tuple[int, int]) -> Iterator[int]:
    """New pairs and earlier ones again, without end."""
    between, after = separators
    held: list[tuple[int, int]] = []
    while True:
        if held and rng.random() < 0.7:
            key, value = held[-1 - int(rng.integers(min(len(held), REACH_PAIRS)))]
        else:
            key, value = (int(one) for one in rng.choice(pool, 2))
        held.append((key, value))
        yield from (key, between, value, after)


def _first(stream: Iterator[int], count: int) -> list[int]:
    return [next(stream) for _ in range(count)]
