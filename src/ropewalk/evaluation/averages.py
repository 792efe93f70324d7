"""Averages: from the numerators a_u and denominators b_u of units (windows, documents) to a figure.

Each is a ratio of sums over units, so that all of them are drawn again alike:

    OverTokens       sum of a_u / sum of b_u
    OverUnits        mean over units of a_u / b_u
    OfPerplexities   log of the mean over units of exp(a_u / b_u), for losses alone

Of losses, a_u is in nats and b_u counts tokens; the perplexity is always the exponential of the
figure.
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
    def terms(self, above: Floats, below: Floats) -> tuple[Floats, Floats]:
        """What each unit adds to both sums, from its own numerator and denominator, ``[units]``."""

    def figure(self, ratio: Floats) -> Floats:
        """The figure, from ratios of summed terms."""
        return ratio


@dataclass(frozen=True, slots=True)
class OverTokens(Average):
    """Every scored token weighs the same."""

    def terms(self, above: Floats, below: Floats) -> tuple[Floats, Floats]:
        return above, below


@dataclass(frozen=True, slots=True)
class OverUnits(Average):
    """Every unit weighs the same, however few tokens it scored."""

    def terms(self, above: Floats, below: Floats) -> tuple[Floats, Floats]:
        return above / below, below / below


@dataclass(frozen=True, slots=True)
class OfPerplexities(Average):
    """Perplexities are averaged, not losses: a unit that went wrong weighs most."""

    def terms(self, above: Floats, below: Floats) -> tuple[Floats, Floats]:
        import numpy as np

        return np.exp(np.minimum(above / below, LARGEST_LOSS)), below / below

    def figure(self, ratio: Floats) -> Floats:
        import numpy as np

        return np.asarray(np.log(ratio), dtype=np.float64)
