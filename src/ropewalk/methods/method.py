"""What the table of methods holds: a name, a function, and what the method promises."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from ropewalk.core.encoding import Encoding


class Promise(Enum):
    """A property that holds for every encoding of a method; a law tests each."""

    ONE_MAP = auto()
    """Every pair of tokens is shown its true distance, in one region."""
    SHIFT_INVARIANT = auto()
    """At one L, moving all positions by a constant leaves every score as it was."""
    ROTATION_ONLY = auto()
    """Frequencies and magnitudes alone: no score modification."""
    FACTOR_ONE_IS_ROPE = auto()
    """Every factor at 1 gives unscaled RoPE, magnitude included."""
    TRAINED_LENGTH_IS_ROPE = auto()
    """Up to the trained length the frequencies are those of unscaled RoPE."""
    LENGTH_DEPENDENT = auto()
    """Frequencies or magnitude change with the context length."""
    FASTEST_PAIR_KEPT = auto()
    """Pair 0 turns as in training, whatever the factor."""
    SLOWEST_PAIR_DIVIDED = auto()
    """The last pair turns ``factor`` times slower than in training."""
    DISTANCES_IN_RANGE = auto()
    """Up to the reach of its position map, every distance shown is below the trained length."""


@dataclass(frozen=True, slots=True)
class Method:
    """A published method.

    name      as typed in a spec
    build     ``(geometry, *, parameters) -> Encoding``; its annotations type the spec's values
    summary   one line
    promises  what holds for every encoding that ``build`` returns
    replaces_factor  the parameter that makes a factor unnecessary, where a method takes either
    """

    name: str
    build: Callable[..., Encoding]
    summary: str
    promises: frozenset[Promise]
    replaces_factor: str | None = None
