"""What is asked of a search, from words to values."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from ropewalk.core.errors import RopewalkError
from ropewalk.searching.ways.covariance import CovarianceAdaptation
from ropewalk.searching.ways.evolution import Evolution
from ropewalk.searching.ways.halving import Halving
from ropewalk.searching.ways.segments import Segments
from ropewalk.searching.ways.slopes import Slopes
from ropewalk.searching.ways.way import Way

WAYS: Mapping[str, Way] = MappingProxyType(
    {
        "ramp": Halving(),
        "cmaes": CovarianceAdaptation(),
        "gradient": Slopes(),
        "evolution": Evolution(),
        "segments": Segments(),
    }
)
DEFAULT_WAY = "ramp"
TERMS = ("loss", "needle", "longppl")
"""What an objective may be a sum of, each in nats a token."""
_TERM = re.compile(r"(?:(?P<weight>[0-9.]+(?:e-?[0-9]+)?)\*)?(?P<name>\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A weighted sum of ``TERMS``; weights by name."""

    weights: tuple[tuple[str, float], ...]

    def has(self, term: str) -> bool:
        """Whether a term is in the sum."""
        return term in dict(self.weights)

    @property
    def text(self) -> str:
        """As typed, in one spelling."""
        return "+".join(
            name if weight == 1 else f"{weight:g}*{name}" for name, weight in self.weights
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for, in the words of ``ropewalk search --help``.

    way           of ``WAYS``
    objective     as ``read_objective`` reads it
    evaluations   the way's budget, in measurements of all search documents; None for its own end
    short_within  nats that a candidate may cost at the trained length; None for any
    start_tokens  numbers of positions that may turn unscaled
    documents     search, choice and test documents; None for what text and budget allow
    tail_tokens   scored at the end of each; None for a quarter of the length

    Raises RopewalkError for numbers that no search has.
    """

    way: str = DEFAULT_WAY
    objective: str = "loss"
    evaluations: int | None = None
    short_within: float | None = None
    start_tokens: tuple[int, ...] = (0,)
    documents: tuple[int, int, int] | None = None
    tail_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        read_way(self.way)
        objective = read_objective(self.objective)
        if self.way == "gradient" and objective.text != "loss":
            raise RopewalkError(
                f"way gradient with objective {objective.text}: expected loss, which alone has a "
                "gradient; use another way"
            )
        if self.evaluations is not None and self.evaluations < 1:
            raise RopewalkError(f"evaluations={self.evaluations}: expected at least 1")
        if self.seed < 0:
            raise RopewalkError(f"seed={self.seed}: expected at least 0")
        if self.short_within is not None and not math.isfinite(self.short_within):
            raise RopewalkError(f"short_within={self.short_within}: expected nats, like 0.02")
        if not self.start_tokens or not all(0 <= each <= 2**20 for each in self.start_tokens):
            raise RopewalkError(
                f"start_tokens={list(self.start_tokens)}: expected numbers from 0 to 2^20"
            )
        if self.documents is not None and (min(self.documents) < 1 or self.documents[2] < 2):
            raise RopewalkError(
                f"documents={self.documents}: expected at least 1 to search and choose on, and 2 "
                "to test on"
            )


def read_way(word: str) -> Way:
    """A way by its name; RopewalkError with the nearest name for another word."""
    if word not in WAYS:
        near = get_close_matches(word, WAYS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise RopewalkError(f"way {word}: {hint}expected one of {', '.join(WAYS)}")
    return WAYS[word]


def read_objective(text: str) -> Objective:
    """``loss``, ``needle``, ``longppl`` or a weighted sum, like ``loss+0.5*needle``.

    Raises RopewalkError for another word, a term given twice, or a weight that is not above 0.
    """
    weights: dict[str, float] = {}
    for part in text.split("+"):
        found = _TERM.fullmatch(part.strip())
        name = found["name"] if found else part
        if found is None or name not in TERMS:
            raise RopewalkError(
                f"objective {text!r}: {part.strip()!r}: expected {', '.join(TERMS)} or a weighted "
                "sum of them, like loss+0.5*needle"
            )
        if name in weights:
            raise RopewalkError(f"objective {text!r}: {name} is given twice; drop one")
        weights[name] = _weight(found["weight"] or "1", text)
    return Objective(weights=tuple(weights.items()))


def _weight(word: str, text: str) -> float:
    try:
        weight = float(word)
    except ValueError:
        weight = 0.0
    if not weight > 0:
        raise RopewalkError(f"objective {text!r}: weight {word}: expected a number above 0")
    return weight
