"""The callables that a search sees, and what they give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ropewalk.searching.candidate import Candidate


class Score(NamedTuple):
    """Of one candidate on one document.

    value  the objective, in nats: lower is better; infinite where it could not be measured
    short  nats at the trained length above those of the unscaled model; 0 where nobody asked
    """

    value: float
    short: float = 0.0


class Measure(Protocol):
    """Measures candidates. Equal questions have equal answers, whoever asked before."""

    def __call__(
        self, candidates: Sequence[Candidate], documents: range
    ) -> Sequence[Sequence[Score]]:
        """A score for each candidate and document, ``[candidates][documents]``.

        documents  numbers of documents that stand together: a block of ``blocks``
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """The loss on some documents, and where it falls.

    value      mean nats
    divisors   d value / d ln lambda, one number a pair
    magnitude  d value / d ln magnitude
    """

    value: float
    divisors: tuple[float, ...]
    magnitude: float


class MeasureSlope(Protocol):
    """Measures a candidate's loss with its gradient."""

    def __call__(self, candidate: Candidate, documents: range) -> Slope:
        """The mean over a block of documents, as in ``Measure``."""
        ...


def blocks(documents: int) -> tuple[range, ...]:
    """0, 1, 2 and 3, 4 to 7, ...: documents that are measured together.

    Prefixes of 1, 2, 4, ... and all documents are whole blocks, so that a candidate that is
    measured further is not measured again.
    """
    ends = [1]
    while ends[-1] < documents:
        ends.append(min(2 * ends[-1], documents))
    return tuple(range(first, last) for first, last in zip([0, *ends], ends, strict=False))
