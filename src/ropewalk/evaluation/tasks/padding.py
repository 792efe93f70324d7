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
"""Source: RULER, scripts/data/synthetic/niah.py, after arXiv:2305.16300."""


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
    def _reached(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each total up to ``LARGEST``, whether sentences make it up."""
        sizes = np.array(sorted(self.sizes), dtype=int)
        reached = np.zeros(LARGEST + 1, dtype=bool)
        reached[0] = True
        for total in range(1, LARGEST + 1):
            reached[total] = reached[total - sizes[sizes <= total]].any()
        return reached

    @cached_property
    def smallest(self) -> int:
        """From this total on, every one up to ``LARGEST`` can be made up."""
        missing = np.flatnonzero(~self._reached)
        return int(missing[-1]) + 1 if len(missing) else 0

    def reaches(self, total: int) -> bool:
        """Whether ``total`` tokens can be made up."""
        return 0 <= total <= LARGEST and bool(self._reached[total])

    def sentences(self, total: int, rng: np.random.Generator) -> list[str]:
        """Random sentences of ``total`` tokens, which ``reaches``."""
        made: list[str] = []
        while total:
            sizes = [size for size in self.sizes if self.reaches(total - size)]
            size = sizes[int(rng.integers(len(sizes)))]
            made.append(self.sizes[size][int(rng.integers(len(self.sizes[size])))])
            total -= size
        return made


def sizes_of(sentences: Sequence[str], tokens: Tokens, joiner: str) -> list[int]:
    """Tokens that each sentence adds after a full stop and the joiner."""
    alone = tokens.counts(["."])[0]
    return [size - alone for size in tokens.counts([f".{joiner}{each}" for each in sentences])]


def noise_sentences() -> list[str]:
    """The sentences of the noise line, and every run of them."""
    one = [f"{each}." for each in NOISE.removesuffix(".").split(". ")]
    runs = [one[i:j] for i in range(len(one)) for j in range(i + 1, len(one) + 1)]
    return [" ".join(run) for run in runs]
