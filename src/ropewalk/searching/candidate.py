"""A candidate: one divisor for each pair, a magnitude, and positions that stay unscaled."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies

DIGITS = 6
"""Significant ones: equal candidates are equal numbers, and lists stay readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What LongRoPE's lists say at one length. Make one by ``of``.

    divisors      lambda: theta_i' = theta_i / lambda_i, one number above 0 for each pair
    magnitude     the attention factor
    start_tokens  n_hat: positions that turn unscaled
    """

    divisors: tuple[float, ...]
    magnitude: float = 1.0
    start_tokens: int = 0

    @classmethod
    def of(
        cls, divisors: Iterable[float], magnitude: float = 1.0, start_tokens: int = 0
    ) -> "Candidate":
        """Numbers to six digits. Raises RopewalkError for one that is not finite and above 0."""
        rounded = tuple(_rounded(each) for each in divisors)
        return cls(divisors=rounded, magnitude=_rounded(magnitude), start_tokens=int(start_tokens))

    @classmethod
    def from_frequencies(cls, frequencies: Frequencies, length: int) -> "Candidate":
        """What a schedule is at one length: theta_i / theta_i'(L), and its attention factor."""
        ratio = frequencies.geometry.inv_freq() / frequencies.inv_freq(length)
        return cls.of(ratio.tolist(), frequencies.attention_factor(length))

    def over(self, other: "Candidate | None") -> "Candidate":
        """This on top of another: divisors and magnitudes multiplied; itself over None."""
        if other is None:
            return self
        pairs = zip(self.divisors, other.divisors, strict=True)
        return self.of(
            (ours * theirs for ours, theirs in pairs),
            self.magnitude * other.magnitude,
            max(self.start_tokens, other.start_tokens),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A candidate by the method spec that it was made of."""

    name: str
    candidate: Candidate


def _rounded(number: float) -> float:
    if not (math.isfinite(number) and number > 0):
        raise RopewalkError(f"factor {number}: expected finite numbers above 0")
    return float(f"{number:.{DIGITS}g}")
