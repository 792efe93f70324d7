"""What a pass costs, by estimate.

    cost(n, calls) = n + n^2 / A + C * (calls - 1)        token equivalents

A is the length at which attention costs as much as all else (about 6 times the hidden
width by counting multiplications); C is what one more call costs, in tokens (a decoding
step reads all weights for one token). One timed pass turns costs into seconds. Good for
a dry run and a progress bar, to a factor of about two.
"""

import time
from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import FullPass, Pass

ATTENTION_TOKENS = 4096
CALL_TOKENS = 32


def pass_cost(tokens: int, split: Pass) -> float:
    """Token equivalents of one sequence of ``tokens`` tokens."""
    calls = sum(1 for _ in split.calls(tokens))
    return tokens + tokens**2 / ATTENTION_TOKENS + CALL_TOKENS * (calls - 1)


def call_cost(before: int) -> float:
    """Token equivalents of a call of one token, or of a few, after ``before`` tokens."""
    return CALL_TOKENS + 1 + before / ATTENTION_TOKENS


FIRST_TOKENS = 64
ENOUGH_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A timed pass: so many tokens in so many seconds."""

    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Seconds for each token equivalent, from a timed pass."""

    seconds_per_token: float
    probe: Probe | None = None

    @classmethod
    def calibrated(cls, *, tokens: int, seconds: float) -> "CostModel":
        """From the time of one full pass over ``tokens`` tokens.

        Raises RopewalkError unless both are above zero.
        """
        if tokens < 1 or not seconds > 0:
            raise RopewalkError(
                f"a pass of {tokens} tokens in {seconds} s: expected both above zero"
            )
        rate = seconds / pass_cost(tokens, FullPass())
        return cls(seconds_per_token=rate, probe=Probe(tokens=tokens, seconds=seconds))

    @classmethod
    def timed(cls, model: LanguageModel, ids: Tensor) -> "CostModel":
        """From full passes over the first of ``ids`` ``[n]``, ever more of them until one takes
        long enough to time, so that a large model is not asked for more than it must. The very
        first pass, which is slower, does not count.
        """
        tokens = min(FIRST_TOKENS, len(ids))
        model.token_losses(ids[:tokens], 1, FullPass())
        while True:
            started = time.perf_counter()
            model.token_losses(ids[:tokens], 1, FullPass())
            seconds = time.perf_counter() - started
            if seconds >= ENOUGH_SECONDS or tokens == len(ids):
                return cls.calibrated(tokens=tokens, seconds=seconds)
            tokens = min(4 * tokens, len(ids))

    def seconds(self, cost: float) -> float:
        """Seconds of ``cost`` token equivalents."""
        return cost * self.seconds_per_token
