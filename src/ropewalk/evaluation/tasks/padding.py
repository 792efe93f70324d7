"""Whole sentences that make up an exact number of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ropewalk.evaluation.tasks.tokens import Tokens

LARGEST = 512
"""Tokens: gaps are closed by no more."""

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
"""Source: RULER, scripts/data/synthetic/niah.py, after Mohtashami and Jaggi 2023 (arXiv:2305.16300)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Padding:
    """Sentences by their tokens, and which totals they can make up.

    sizes  for each number of tokens (with the joiner before it), the sentences of that size
    """

    sizes: dict[int, tuple[str, ...]]

    @classmethod
    def of(cls, sentences: Sequence[str], tokens: Tokens, joiner: str) -> "Padding":
        """Every different sentence of at most ``LARGEST`` tokens."""
        unique = list(dict.fromkeys(sentences))
        sizes: dict[int, list[str]] = {}
        for sentence, size in zip(unique, sizes_of(unique, tokens, joiner), strict=True):
            if 0 < size <= LARGEST:
                sizes.setdefault(size, []).append(sentence)
        return cls(sizes={size: tuple(made) for size, made in sizes.items()})

    @cached_property
    def _last(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """For each total, the size of the last sentence of the shortest row of them; -1: none."""
        sizes = np.array(sorted(self.sizes), dtype=int)
        rows = np.full(LARGEST + 1, LARGEST + 1)
        last = np.full(LARGEST + 1, -1)
        rows[0] = last[0] = 0
        for total in range(1, LARGEST + 1):
            fitting = sizes[: np.searchsorted(sizes, total, side="right")]
            shortest = int(rows[total - fitting].argmin()) if len(fitting) else 0
            if len(fitting) and rows[total - fitting[shortest]] < LARGEST:
                rows[total] = rows[total - fitting[shortest]] + 1
                last[total] = fitting[shortest]
        return last

    @cached_property
    def smallest(self) -> int:
        """From this total on, every one up to ``LARGEST`` can be made up."""
        missing = np.flatnonzero(self._last < 0)
        return int(missing[-1]) + 1 if len(missing) else 0

    def reaches(self, total: int) -> bool:
        """Whether ``total`` tokens can be made up."""
        return 0 <= total <= LARGEST and bool(self._last[total] >= 0)

    def sentences(self, total: int, rng: np.random.Generator) -> list[str]:
        """As few sentences as make up ``total`` tokens, which ``reaches``, in random order."""
        made: list[str] = []
        while total:
            size = int(self._last[total])
            alike = self.sizes[size]
            made.append(alike[int(rng.integers(len(alike)))])
            total -= size
        return [made[number] for number in rng.permutation(len(made))]


def sizes_of(sentences: Sequence[str], tokens: Tokens, joiner: str) -> list[int]:
    """Tokens that each sentence adds after a full stop and the joiner."""
    alone = tokens.counts(["."])[0]
    return [size - alone for size in tokens.counts([f".{joiner}{each}" for each in sentences])]


def noise_sentences() -> list[str]:
    """The sentences of the noise line, and every run of them."""
    one = [f"{each}." for each in NOISE.removesuffix(".").split(". ")]
    runs = [one[i:j] for i in range(len(one)) for j in range(i + 1, len(one) + 1)]
    return [" ".join(run) for run in runs]
