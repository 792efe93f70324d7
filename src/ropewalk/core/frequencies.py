"""Frequencies: how fast each pair of channels turns, and how long its vector is made."""

from abc import ABC, abstractmethod
from functools import lru_cache

import torch
from torch import Tensor


class Frequencies(ABC):
    """theta_i(L), attention_factor(L) and the angle of a position. Pure; float64.

    A final subclass is a frozen dataclass. ``context_length`` L is a number of tokens
    (largest position + 1). Contract: every method is constant for L <= trained length.
    """

    @abstractmethod
    def inv_freq(self, context_length: int) -> Tensor:
        """Radians a token of each pair, float64 ``[f]``, at context length L."""

    def attention_factor(self, context_length: int) -> float:
        """Multiplies cos and sin, so the rotary part of a logit is multiplied by its square."""
        return 1.0

    def angles(self, positions: Tensor, context_length: int) -> Tensor:
        """Radians ``[..., f]`` at real-valued positions ``[...]``: position * theta_i(L)."""
        return self.angles_of(positions, self.inv_freq(context_length).to(positions.device))

    def angles_of(self, positions: Tensor, theta: Tensor) -> Tensor:
        """Radians ``[..., f]`` at positions ``[...]`` that turn by ``theta`` ``[..., f]``."""
        return positions.double()[..., None] * theta

    def angles_each(self, positions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Angles ``[..., f]`` and attention factors ``[..., 1]``, each position at an L of its own.

        positions, lengths  of one shape ``[...]``; lengths are int64
        """
        distinct, which = torch.unique(lengths, return_inverse=True)
        rows = [_at_length(self, length) for length in distinct.tolist()]
        table = torch.tensor(rows, dtype=torch.float64, device=positions.device)
        seen = table[which]
        return self.angles_of(positions, seen[..., :-1]), seen[..., -1:]

    @property
    def length_dependent(self) -> bool:
        """Whether theta or the attention factor changes with L."""
        return False

    @property
    def shift_invariant(self) -> bool:
        """Whether adding one constant to all positions leaves every score as it was."""
        return True

    @property
    def proportional(self) -> bool:
        """Whether an angle is a position times theta, without exception."""
        kind = type(self)
        return kind.angles is Frequencies.angles and kind.angles_of is Frequencies.angles_of


# Every layer asks again, for thousands of lengths where rows see one each.
@lru_cache(maxsize=2**15)
def _at_length(frequencies: Frequencies, length: int) -> tuple[float, ...]:
    """inv_freq and, at the end, the attention factor."""
    return *frequencies.inv_freq(length).tolist(), frequencies.attention_factor(length)
