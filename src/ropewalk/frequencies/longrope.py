"""LongRoPE: every pair has a searched divisor, one list for short and one for long contexts.

    theta_i' = theta_i / lambda_i,   lambda = short_factor for L <= L0, long_factor for L > L0
    a position below n_hat turns by the unscaled theta_i
    attention factor = sqrt(1 + ln s / ln L0)   for s > 1, else 1

n_hat   start_tokens
s       factor: the longest context over L0

The square of the attention factor is ln(s L0) / ln L0: log-n scaling at the longest context.

Source: Ding et al. 2024, LongRoPE, arXiv:2402.13753, equation 3; microsoft/LongRoPE for the
    attention factor and Phi-3 for the two lists.
Deviation: the released search has no start tokens (n_hat = 0), and released code applies one
    attention factor to both lists; Phi-3.5-MoE states one for each (short_mscale, long_mscale).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRoPE(Frequencies):
    """Frequencies divided pair by pair.

    short_factor, long_factor        lambda: one number above 0 for each pair
    short_magnitude, long_magnitude  attention factors beside the lists
    start_tokens                     n_hat: positions that turn unscaled

    Raises RopewalkError for a list of the wrong length or with a number that is not above 0.
    """

    geometry: RopeGeometry
    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    short_magnitude: float
    long_magnitude: float
    start_tokens: int = 0

    def __post_init__(self) -> None:
        self._check_list(self.short_factor, "short_factor")
        self._check_list(self.long_factor, "long_factor")
        check_positive(self.short_magnitude, "short_mscale")
        check_positive(self.long_magnitude, "long_mscale")
        if not 0 <= self.start_tokens <= 2**40:
            raise RopewalkError(f"start_tokens={self.start_tokens}: expected 0 to 2^40 tokens")

    def inv_freq(self, context_length: int) -> Tensor:
        divisors = self.long_factor if self._is_long(context_length) else self.short_factor
        return self.geometry.inv_freq() / torch.tensor(divisors, dtype=torch.float64)

    def attention_factor(self, context_length: int) -> float:
        return self.long_magnitude if self._is_long(context_length) else self.short_magnitude

    def angles(self, positions: Tensor, lengths: int | Tensor) -> Tensor:
        """position * theta_i' from position n_hat on, position * theta_i before it."""
        at, theta = positions.double()[..., None], self.theta(positions, lengths)
        if self.start_tokens == 0:
            return at * theta
        unscaled = self.geometry.inv_freq().to(positions.device)
        return at * torch.where(at < self.start_tokens, unscaled, theta)

    @property
    def length_dependent(self) -> bool:
        short = (self.short_factor, self.short_magnitude)
        return short != (self.long_factor, self.long_magnitude)

    @property
    def shift_invariant(self) -> bool:
        return self.start_tokens == 0

    def _is_long(self, context_length: int) -> bool:
        return context_length > self.geometry.trained_length

    def _check_list(self, divisors: tuple[float, ...], name: str) -> None:
        pairs = (self.geometry.rotary_dim + 1) // 2
        if len(divisors) != pairs:
            raise RopewalkError(
                f"{name} has {len(divisors)} entries: expected {pairs}, one for each pair of "
                f"rotary_dim={self.geometry.rotary_dim}; was it searched for another model?"
            )
        for divisor in divisors:
            check_positive(divisor, f"{name} entry")


def longrope_attention_factor(factor: float, trained_length: int) -> float:
    """sqrt(1 + ln s / ln L0) for s > 1, else 1."""
    if factor <= 1:
        return 1.0
    return math.sqrt(1 + math.log(factor) / math.log(trained_length))
