"""Averages: from the losses of units (windows or documents) to one figure.

Each is a ratio of sums over units, so that all of them are drawn again alike:

    OverTokens       sum of nll / sum of tokens
    OverUnits        mean over units of nll_u / tokens_u
    OfPerplexities   log of the mean over units of exp(nll_u / tokens_u)

The perplexity is always the exponential of the figure.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

LARGEST_LOSS = 700.0
"""Nats: beyond, perplexities overflow."""


class Average(ABC):
    """How units are weighed. Pure; float64."""

    @abstractmethod
    def terms(self, nll: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        """What each unit adds to the numerator and to the denominator, ``[units]`` each.

        nll     sum of each unit's losses, in nats
        tokens  tokens that each scored
        """

    def figure(self, ratio: Floats) -> Floats:
        """Nats per token, from ratios of summed terms."""
        return ratio


@dataclass(frozen=True, slots=True)
class OverTokens(Average):
    """Every scored token weighs the same."""

    def terms(self, nll: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        return nll, tokens


@dataclass(frozen=True, slots=True)
class OverUnits(Average):
    """Every unit weighs the same, however few tokens it scored."""

    def terms(self, nll: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        return nll / tokens, tokens / tokens


@dataclass(frozen=True, slots=True)
class OfPerplexities(Average):
    """Perplexities are averaged, not losses: a unit that went wrong weighs most."""

    def terms(self, nll: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        import numpy as np

        return np.exp(np.minimum(nll / tokens, LARGEST_LOSS)), tokens / tokens

    def figure(self, ratio: Floats) -> Floats:
        import numpy as np

        return np.asarray(np.log(ratio), dtype=np.float64)
