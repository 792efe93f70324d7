"""Haystacks: sentences in which needles are hidden, and whole sentences that fill the rest."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.padding import NOISE, Padding, noise_sentences, sizes_of
from ropewalk.evaluation.tasks.tokens import Tokens

_ENDS = re.compile("(?<=[.!?])[\u201d\"\u2019')]*\\s+(?=[\u201c\"\u2018'(]*[A-Z])")
SHORTEST_CHARACTERS = 12
LONGEST_CHARACTERS = 400
PROBED = 32
SPREAD = 4
"""Tokens by which a sentence may be shorter than the shortest of those probed."""


class Haystack(ABC):
    """Sentences joined by ``joiner``."""

    joiner: ClassVar[str]

    @property
    @abstractmethod
    def padding(self) -> Padding:
        """Whole sentences of the same kind, for an exact length."""

    @abstractmethod
    def straw(self, tokens: int, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
        """Sentences in order and the tokens of each, at least ``tokens`` in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Noise(Haystack):
    """One line of five sentences, again and again.

    Source: RULER, scripts/data/synthetic/niah.py (``type_haystack: noise``).
    """

    joiner: ClassVar[str] = "\n"
    line: int
    padding: Padding

    @classmethod
    def of(cls, tokens: Tokens) -> "Noise":
        """Measured with a tokenizer."""
        (line,) = sizes_of([NOISE], tokens, cls.joiner)
        return cls(line, Padding.of(noise_sentences(), tokens, cls.joiner))

    def straw(self, tokens: int, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
        return ((NOISE, self.line) for _ in range(tokens // self.line + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Prose(Haystack):
    """The sentences of texts from a random one on; the first follows the last.

    Source: RULER (``type_haystack: essay``), with other texts.
    """

    joiner: ClassVar[str] = " "
    sentences: tuple[str, ...]
    sizes: tuple[int, ...]
    padding: Padding

    @classmethod
    def of(cls, texts: Sequence[str], tokens: Tokens) -> "Prose":
        """Of texts that hold sentences. Raises RopewalkError for fewer than 20 of them."""
        sentences = [sentence for text in texts for sentence in split_sentences(text)]
        if len(sentences) < 20:
            raise RopewalkError(
                f"{len(sentences)} sentences of {SHORTEST_CHARACTERS} to {LONGEST_CHARACTERS} "
                "characters to hide a needle in: expected at least 20; give a longer --text"
            )
        sizes = sizes_of(sentences, tokens, cls.joiner)
        padding = Padding.of([*sentences, *noise_sentences()], tokens, cls.joiner)
        return cls(tuple(sentences), tuple(sizes), padding)

    def straw(self, tokens: int, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
        at, given = int(rng.integers(len(self.sentences))), 0
        while given < tokens:
            yield self.sentences[at], self.sizes[at]
            given += self.sizes[at]
            at = (at + 1) % len(self.sentences)


@dataclass(frozen=True, slots=True, eq=False)
class Lines(Haystack):
    """Given sentences, as many of the first as fit; noise for what is left.

    Source: RULER (``type_haystack: needle``, where every sentence is the needle of another key).
    """

    joiner: ClassVar[str] = " "
    sentences: tuple[str, ...]
    sizes: tuple[int, ...]
    padding: Padding

    @classmethod
    def of(cls, make: Callable[[int], Sequence[str]], tokens: Tokens, length: int) -> "Lines":
        """What ``make`` gives when asked for as many different sentences as fill ``length``."""
        smallest = min(sizes_of(make(PROBED), tokens, cls.joiner))
        sentences = make(2 + length // max(1, smallest - SPREAD))
        padding = Padding.of([*sentences[:PROBED], *noise_sentences()], tokens, cls.joiner)
        return cls(tuple(sentences), tuple(sizes_of(sentences, tokens, cls.joiner)), padding)

    @classmethod
    def given(cls, lines: Sequence[str], tokens: Tokens, length: int) -> "Lines":
        """These, each once, and the noise line after them."""
        noise = sizes_of([NOISE], tokens, cls.joiner) * (1 + length // 8)
        sizes = [*sizes_of(lines, tokens, cls.joiner), *noise]
        padding = Padding.of(noise_sentences(), tokens, cls.joiner)
        return cls((*lines, *[NOISE] * len(noise)), tuple(sizes), padding)

    def straw(self, tokens: int, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
        return zip(self.sentences, self.sizes, strict=True)


def split_sentences(text: str) -> list[str]:
    """Sentences on one line each, without the very short and the very long."""
    paragraphs = (re.sub(r"\s+", " ", each).strip() for each in text.split("\n\n"))
    found = (sentence.strip() for each in paragraphs for sentence in _ENDS.split(each))
    return [one for one in found if SHORTEST_CHARACTERS <= len(one) <= LONGEST_CHARACTERS]
