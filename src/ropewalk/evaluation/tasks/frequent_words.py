"""Frequent words: of coded words, the three most frequent.

    times of rank k = N k^-2 / zeta(2)

N      coded words; V = length / 50 different ones of six random letters
rank 1 stands as ``...`` and is to be ignored; ranks 2 to 4 are the answer, 5 to 7 the distractor.

Source: Hsieh et al. 2024, RULER, arXiv:2404.06654, section 3 (alpha 2); scripts/data/synthetic/
freq_words_extraction.py. Deviation: none.
"""

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks import words
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Noise
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

ALPHA = 2
ZETA = math.pi**2 / 6
TOKENS_A_WORD = 50
DOTS = "..."
FEWEST = 100
"""Coded words: with fewer, the fourth and the fifth rank are as frequent."""
SLACK = 8
"""Tokens left for a tokenizer that merges across words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrequentWords(Generator):
    """Samples of the task."""

    name: ClassVar[str] = "fwe"
    room: ClassVar[int] = 50
    haystack: Noise

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        different = max(7, place.length // TOKENS_A_WORD)
        coded = [DOTS, *words.letters(rng, different - 1, 6, string.ascii_lowercase)]
        draft = Draft(
            task=self.name,
            opening="Read the following coded text and track the frequency of each coded word. "
            "Find the three most frequently appeared coded words.\n",
            needles=((" ", 1.0),),
            question="Question: Do not provide any explanation. Please ignore the dots '....'. "
            "What are the three most frequently appeared words in the above coded text?",
            answer_prefix=" Answer: According to the coded text above, the three most frequently "
            "appeared words are:",
            answer=tuple(coded[1:4]),
            distractors=(tuple(coded[4:7]),),
            max_new_tokens=self.room,
        )
        fixed = tokens.counts([draft.opening + draft.question + draft.answer_prefix])[0]
        left = place.length - draft.max_new_tokens - len(tokens.opening) - fixed
        spare = left - self.haystack.padding.smallest - SLACK
        times = _most(tokens.counts([f" {word}" for word in coded]), spare, place.length)
        every = [word for word, count in zip(coded, times, strict=True) for _ in range(count)]
        text = " ".join(every[at] for at in rng.permutation(len(every)))
        full = replace(draft, needles=((text, 1.0),))
        return replace(fitted(full, self.haystack, tokens, place.length, rng), depth=None)


def frequencies(total: int, different: int) -> list[int]:
    """How often the word of each rank stands among ``total``."""
    return [int(total * rank**-ALPHA / ZETA) for rank in range(1, different + 1)]


def _most(sizes: Sequence[int], spare: int, length: int) -> list[int]:
    """Frequencies of the largest total whose words fit into ``spare`` tokens."""

    def cost(total: int) -> int:
        return sum(n * size for n, size in zip(frequencies(total, len(sizes)), sizes, strict=True))

    if cost(FEWEST) > spare:
        raise RopewalkError(
            f"fwe at length {length}: expected room for {FEWEST} coded words; ask for a length "
            f"of {cost(FEWEST) - spare} tokens more"
        )
    low, high = FEWEST, max(FEWEST + 1, 2 * spare)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= spare else (low, middle)
    return frequencies(low, len(sizes))
