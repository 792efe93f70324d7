"""Frequencies: how fast each pair of channels turns, and how long its vector is made."""

from abc import ABC, abstractmethod

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
        theta = self.inv_freq(context_length).to(positions.device)
        return positions.double()[..., None] * theta

    @property
    def length_dependent(self) -> bool:
        """Whether theta or the attention factor changes with L."""
        return False

    @property
    def shift_invariant(self) -> bool:
        """Whether adding one constant to all positions leaves every score as it was."""
        return True
