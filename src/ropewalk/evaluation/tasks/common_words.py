"""Common words: of a numbered list, the ten words that occur most often.

Common words stand 30 times, the others 3 times; in lists of fewer than 4,096 tokens 6 times and
once. A short example stands before the list.

Source: Hsieh et al. 2024, RULER, arXiv:2404.06654, section 3; scripts/data/synthetic/
common_words_extraction.py. Deviation: words are those of the given texts; the example is always
the short one (10 words three times, 10 once).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar

import numpy as np

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Noise
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

COMMON = 10
FEWEST_OTHERS = 10
EXAMPLE = 20
"""Words of the example."""
SHORT_TOKENS = 4096
ENTRY_TOKENS = 3
"""A word, its number and the point, at least; where they are fewer, noise fills the list up."""
ROOM = 120
SLACK = 8
"""Tokens left for a tokenizer that merges across words."""
INSTRUCTION = (
    "Below is a numbered list of words. In these words, some appear more often than others. "
    "Memorize the ones that appear most often.\n"
)
QUESTION = "Question: What are the 10 most common words in the above list?"
PREFIX = " Answer: The top 10 words that appear most often in the list are:"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommonWords(Generator):
    """Samples of the task.

    words  to draw from: one for each three entries of the longest list
    """

    name: ClassVar[str] = "cwe"
    room: ClassVar[int] = ROOM
    haystack: Noise
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        fewest = EXAMPLE + COMMON + FEWEST_OTHERS
        if len(self.words) < fewest:
            raise RopewalkError(
                f"cwe: the texts hold {len(self.words)} different lower-case words of 4 to 10 "
                f"letters a to z: expected at least {fewest}; give a longer --text"
            )

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        words = [self.words[number] for number in rng.permutation(len(self.words))]
        example, words = _example(rng, words[:EXAMPLE]), words[EXAMPLE:]
        common, others = words[:COMMON], words[COMMON:]
        draft = Draft(
            task=self.name,
            opening=example + INSTRUCTION,
            needles=((" ", 1.0),),
            question=QUESTION,
            answer_prefix=PREFIX,
            answer=tuple(common),
            distractors=(tuple(others[:COMMON]),),
            max_new_tokens=self.room,
        )
        spare = self._spare(draft, place, tokens)
        listed = _listed(common, others, spare, place, tokens, rng)
        full = replace(draft, needles=((listed, 1.0),))
        return replace(fitted(full, self.haystack, tokens, place.length, rng), depth=None)

    def _spare(self, draft: Draft, place: Place, tokens: Tokens) -> int:
        """Tokens for the list."""
        fixed = tokens.counts([draft.opening + draft.question + draft.answer_prefix])[0]
        left = place.length - ROOM - len(tokens.opening) - fixed
        return left - self.haystack.padding.smallest - SLACK


def _listed(
    common: Sequence[str],
    others: Sequence[str],
    spare: int,
    place: Place,
    tokens: Tokens,
    rng: np.random.Generator,
) -> str:
    """As many of the other words as fit into ``spare`` tokens, and the common ones."""
    often, seldom = (6, 1) if place.length < SHORT_TOKENS else (30, 3)
    most_others = (spare // ENTRY_TOKENS - often * len(common)) // seldom
    others = others[: max(FEWEST_OTHERS, most_others)]
    most = often * len(common) + seldom * len(others)
    sizes = tokens.counts([f" {word}" for word in [*common, *others]])
    numbers = list(accumulate(tokens.counts([f" {n}." for n in range(1, most + 1)])))
    start = often * sum(sizes[: len(common)])
    used = [start + seldom * each for each in accumulate(sizes[len(common) :])]
    totals = [
        each + numbers[often * len(common) + seldom * (count + 1) - 1]
        for count, each in enumerate(used)
    ]
    fitting = sum(total <= spare for total in totals)
    if fitting < FEWEST_OTHERS:
        more = totals[FEWEST_OTHERS - 1] - spare
        raise RopewalkError(
            f"cwe at length {place.length}: expected room for {FEWEST_OTHERS} words that are not "
            f"common; ask for a length of {more} tokens more"
        )
    return numbered([*common] * often + [*others[:fitting]] * seldom, rng)


def numbered(words: Sequence[str], rng: np.random.Generator) -> str:
    """In random order, each with its number."""
    return " ".join(f"{n}. {words[at]}" for n, at in enumerate(rng.permutation(len(words)), 1))


def _example(rng: np.random.Generator, words: Sequence[str]) -> str:
    common, others = words[:COMMON], words[COMMON:]
    listed = numbered([*common] * 3 + [*others], rng)
    return f"{INSTRUCTION}{listed}\n{QUESTION}{PREFIX} {', '.join(common)}\n\n"
