"""Samplers of positions: which tokens of a text a window holds, and at which positions they stand.

    sampler     tokens a window     positions
    FullLength  N                   0 .. N - 1
    PoSE        L0                  two runs, the second moved on by a skip u <= N - L0
    CREAM       L0                  head, middle and tail of 0 .. N - 1

A window of L0 tokens at positions up to N shows distances up to N at the cost of training at L0.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from ropewalk.core.errors import RopewalkError

if TYPE_CHECKING:
    Integers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """trained is L0, target is N; in tokens."""

    trained: int
    target: int

    @property
    def factor(self) -> int:
        """N / L0 in whole numbers, at least 1."""
        return max(1, self.target // self.trained)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """places in a stretch of text, and positions: int64 ``[n]`` each, both rising."""

    places: "Integers"
    positions: "Integers"


class PositionSampler(ABC):
    """Draws windows. A final subclass is a frozen dataclass."""

    name: ClassVar[str]

    def check(self, lengths: Lengths) -> None:
        """Raise RopewalkError for lengths that it has no windows for."""
        return None

    @abstractmethod
    def tokens(self, lengths: Lengths) -> int:
        """Tokens of a window."""

    @abstractmethod
    def stretch(self, lengths: Lengths) -> int:
        """Tokens of text, at most, from which a window is taken."""

    @abstractmethod
    def draw(self, lengths: Lengths, text_tokens: int, chance: np.random.Generator) -> Drawn:
        """A window of a stretch of ``text_tokens``, from ``tokens`` to ``stretch`` of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullLength(PositionSampler):
    """Every token of N at its own position."""

    name: ClassVar[str] = "full"

    def tokens(self, lengths: Lengths) -> int:
        return lengths.target

    def stretch(self, lengths: Lengths) -> int:
        return lengths.target

    def draw(self, lengths: Lengths, text_tokens: int, chance: np.random.Generator) -> Drawn:
        every = np.arange(lengths.target)
        return Drawn(places=every, positions=every)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoSE(PositionSampler):
    """Positional skip-wise training: two chunks of a window of L0 tokens.

        r in [1, (L0 + 1) // 2],  u in [0, N - L0],  e in [L0, text]
        tokens     0 .. r - 1     and  e - (L0 - r) .. e - 1
        positions  0 .. r - 1     and  r + u .. L0 - 1 + u

    r, u and e are drawn uniformly and independently; text is at most 5 L0 tokens.

    Source: Zhu et al. 2023, PoSE, arXiv:2309.10400, section 3; released code a3d4ba8,
        train_preprocess_function_pose.
    Deviation: the paper moves the first chunk too, by u_0; the code has u_0 = 0, followed here.
    """

    name: ClassVar[str] = "pose"

    def tokens(self, lengths: Lengths) -> int:
        return lengths.trained

    def stretch(self, lengths: Lengths) -> int:
        return 5 * lengths.trained

    def draw(self, lengths: Lengths, text_tokens: int, chance: np.random.Generator) -> Drawn:
        tokens = lengths.trained
        first = int(chance.integers(1, (tokens + 1) // 2, endpoint=True))
        end = int(chance.integers(tokens, text_tokens, endpoint=True))
        skip = int(chance.integers(0, max(lengths.target - tokens, 0), endpoint=True))
        places = np.arange(tokens)
        positions = places.copy()
        places[first:] += end - tokens
        positions[first:] += skip
        return Drawn(places=places, positions=positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class CREAM(PositionSampler):
    """Head, middle and tail; the middle's end is drawn by a truncated Gaussian.

        h in {L0 // 3, 4 s},  m = L0 - 2 h                     s = N // L0
        f of the Gaussian (1 + s, sigma) truncated to [2, 2 s], in whole numbers
        e in [h + (m - 1) f / 2,  L0 f / 2 - h - 1]
        positions  0 .. h - 1,  e - m + 1 .. e,  s L0 - h .. s L0 - 1

    Tokens are those that stand at these places of a text of s L0 tokens; of a shorter one the
    tail is its end, and the middle what comes before that where it would reach into the tail.

    Source: Wu et al. 2024, CREAM, arXiv:2406.07138, section 3; released code 5b18833, train.py.
    Deviation: the code draws h once for 3,000 texts, and its middle may overlap the tail of a
        short text; here h is drawn for each window, and no token comes twice.
    """

    name: ClassVar[str] = "cream"

    sigma: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < float("inf"):
            raise RopewalkError(f"cream:sigma={self.sigma}: expected a finite number above 0")

    def check(self, lengths: Lengths) -> None:
        s, tokens = lengths.factor, lengths.trained
        if s < 2 or 8 * s >= tokens:
            raise RopewalkError(
                f"cream at {lengths.target} tokens, {s} times the trained length {tokens}: "
                f"expected from 2 to {(tokens - 1) // 8} times, so that 8 s tokens leave a middle; "
                "use pose"
            )

    def tokens(self, lengths: Lengths) -> int:
        return lengths.trained

    def stretch(self, lengths: Lengths) -> int:
        return lengths.factor * lengths.trained

    def draw(self, lengths: Lengths, text_tokens: int, chance: np.random.Generator) -> Drawn:
        s, tokens = lengths.factor, lengths.trained
        side = tokens // 3 if chance.random() < 0.5 else 4 * s
        middle = tokens - 2 * side
        half = self._half_factor(s, chance)
        lowest = int(side + (middle - 1) * half)
        end = int(chance.integers(lowest, int(half * tokens) - side - 1, endpoint=True))
        last = min(end, text_tokens - side - 1)
        head, mid, tail = np.arange(side), np.arange(middle), np.arange(side)
        return Drawn(
            places=np.concatenate([head, mid + last - middle + 1, tail + text_tokens - side]),
            positions=np.concatenate([head, mid + end - middle + 1, tail + s * tokens - side]),
        )

    def _half_factor(self, s: int, chance: np.random.Generator) -> float:
        """f / 2."""
        grid = np.linspace(2, 2 * s, 1000)
        cdf = [0.5 * (1 + math.erf((x - 1 - s) / (self.sigma * math.sqrt(2)))) for x in grid]
        return int(np.interp(chance.random(), cdf, grid)) / 2
