"""A generator: samples of one task, each a pure function of seed, trial and length."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ropewalk.evaluation.tasks.judging import Verdict, judged
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which sample is wanted.

    length  tokens of the prompt, BOS included, and of the room for the answer
    depth   share of the context before what is asked for, 0 to 1
    seed    of the run; ``trial`` numbers its samples
    """

    length: int
    depth: float
    seed: int
    trial: int


class Generator(ABC):
    """Makes the samples of a task."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As typed on the command line."""

    @property
    @abstractmethod
    def room(self) -> int:
        """Tokens of the room for a generated answer."""

    @property
    def ranked(self) -> bool:
        """Whether other answers stand in the text, among which the right one is ranked."""
        return True

    def verdict(self, text: str, ids: Sequence[int], sample: Sample) -> Verdict:
        """Of a generated answer: its text, and the ids before a special token."""
        return judged(text, ids, sample)

    @abstractmethod
    def sample(self, place: Place, tokens: Tokens) -> Sample:
        """Raises RopewalkError below the shortest length, with the remedy."""

    def randomness(self, place: Place) -> np.random.Generator:
        """Of a trial: the same at every length and depth."""
        return np.random.default_rng([place.seed, zlib.crc32(self.name.encode()), place.trial])
