"""The record of a method: its function, what it promises, how far it was reported to carry."""

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
    """Pair 0 rotates as in training, whatever the factor."""
    SLOWEST_PAIR_DIVIDED = auto()
    """The last pair rotates ``factor`` times slower than in training."""
    ROTATES_NOTHING = auto()
    """On its own it leaves queries and keys as they are."""
    TRAINED = auto()
    """A model has to be trained with it: it has parameters, or changes the embeddings."""
    DISTANCES_IN_RANGE = auto()
    """Up to the reach of its position map, every distance shown is below the trained length."""


ROTATION = frozenset({Promise.ONE_MAP, Promise.SHIFT_INVARIANT, Promise.ROTATION_ONLY})
"""What a method promises that sets the frequencies and nothing else."""

MAP = frozenset({Promise.TRAINED_LENGTH_IS_ROPE, Promise.FASTEST_PAIR_KEPT})
"""What a method promises that sets the position map and leaves the frequencies alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a method carries a checkpoint, by what its source reports.

    Most was reported for 7B to 70B models; smaller ones reach less.

    untuned        largest N / L0 without training; 1 where training is needed at once
    tuned          largest N / L0 after ``training``; None where nothing was reported
    training       what the source trained
    short_context  what it costs inside the trained length
    reason         what was reported, in one line
    source         paper with section, table or figure, or released code
    """

    untuned: float
    tuned: float | None = None
    training: str = "none"
    short_context: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A published method: the record that its file ends with.

    build            ``(geometry, *, parameters) -> Encoding``; its name is the method's, its
                     annotations type a spec's values
    summary          one line
    promises         what holds for every encoding that ``build`` returns
    replaces_factor  the parameter that makes a factor unnecessary, where a method takes either
    reach            how far it was reported to carry; None where nothing was
    """

    build: Callable[..., Encoding]
    summary: str
    promises: frozenset[Promise]
    replaces_factor: str | None = None
    reach: Reach | None = None

    @property
    def name(self) -> str:
        """As typed in a spec."""
        return self.build.__name__
