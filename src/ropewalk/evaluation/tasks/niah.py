"""Needles in a haystack: RULER's eight variants, and a default of four keys.

    One of the special magic numbers for silent-harbor is: 4183925.

The other keys' values are the distractors; of several queries, the same values in another order.

Source: Hsieh et al. 2024, RULER, arXiv:2404.06654, table 2; scripts/data/synthetic/niah.py.
Deviation: prose is the given texts, not essays; each trial has a shuffle of its own (upstream
begins Random(42) anew for each sample).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ropewalk.evaluation.tasks import words
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Haystack, Lines
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

Make = Callable[[np.random.Generator, int], Sequence[str]]
"""Different keys or values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What keys or values are, in the plural, and how to make them."""

    plural: str
    make: Make

    @property
    def singular(self) -> str:
        return self.plural.removesuffix("s")


WORDS = Kind(plural="words", make=words.names)
NUMBERS = Kind(plural="numbers", make=words.numbers)
UUIDS = Kind(plural="uuids", make=words.uuids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How many keys are hidden, values each key has, and keys are asked for."""

    name: str
    keys: Kind = WORDS
    values: Kind = NUMBERS
    hidden: int = 1
    values_each: int = 1
    asked: int = 1
    max_new_tokens: int = 128


SINGLE_1 = Variant(name="niah_single_1")
SINGLE_2 = Variant(name="niah_single_2")
SINGLE_3 = Variant(name="niah_single_3", values=UUIDS)
MULTIKEY_1 = Variant(name="niah_multikey_1", hidden=4)
MULTIKEY_2 = Variant(name="niah_multikey_2", hidden=4)
MULTIKEY_3 = Variant(name="niah_multikey_3", keys=UUIDS, values=UUIDS, hidden=4)
MULTIVALUE = Variant(name="niah_multivalue", values_each=4)
MULTIQUERY = Variant(name="niah_multiquery", hidden=4, asked=4)
NEEDLE = Variant(name="needle", hidden=4, max_new_tokens=16)
"""The default: the answer is ranked among the four values in the text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needles(Generator):
    """Samples of one variant.

    haystack  where the needles are hidden; None: among needles of other keys
    """

    variant: Variant
    haystack: Haystack | None

    @property
    def name(self) -> str:
        return self.variant.name

    @property
    def room(self) -> int:
        return self.variant.max_new_tokens

    @property
    def ranked(self) -> bool:
        return self.variant.hidden > 1

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        draft = self._draft(place, rng)
        haystack = self.haystack or Lines.of(
            lambda count: self._others(rng, count, draft), tokens, place.length
        )
        return fitted(draft, haystack, tokens, place.length, rng)

    def _others(self, rng: np.random.Generator, count: int, draft: Draft) -> list[str]:
        """Needles of other keys, with other values than those of the draft."""
        spare = count + 2 * len(draft.needles)
        keys, values = self.variant.keys.make(rng, spare), self.variant.values.make(rng, spare)
        hidden = " ".join(needle for needle, _ in draft.needles)
        return [
            self._sentence(key, value)
            for key, value in zip(keys, values, strict=True)
            if f" {key} " not in hidden and f" {value}." not in hidden
        ][:count]

    def _sentence(self, key: str, value: str) -> str:
        return f"One of the special magic {self.variant.values.plural} for {key} is: {value}."

    def _draft(self, place: Place, rng: np.random.Generator) -> Draft:
        variant = self.variant
        keys = variant.keys.make(rng, variant.hidden)
        made = variant.values.make(rng, variant.hidden * variant.values_each)
        depths = [place.depth, *rng.random(len(made) - 1).tolist()]
        owners = [keys[number // variant.values_each] for number in range(len(made))]
        hidden = zip(map(self._sentence, owners, made), depths, strict=True)
        if variant.values_each > 1:
            answer = tuple(value for _, value in sorted(zip(depths, made, strict=True)))
            others: list[tuple[str, ...]] = []
        elif variant.asked > 1:
            answer = tuple(made)
            others = [(*made[turn:], *made[:turn]) for turn in range(1, len(made))]
        else:
            answer, others = (made[0],), [(value,) for value in made[1:]]
        return Draft(
            task=variant.name,
            needles=tuple(hidden),
            answer=answer,
            distractors=tuple(others),
            max_new_tokens=variant.max_new_tokens,
            **self._words(keys[: variant.asked], len(answer)),
        )

    def _words(self, asked: Sequence[str], answers: int) -> dict[str, str]:
        """Instructions and question, as upstream words them for one answer and for several."""
        values = self.variant.values
        query = asked[0] if len(asked) == 1 else ", ".join(asked[:-1]) + f", and {asked[-1]}"
        if answers == 1:
            kind, which, verb = values.singular, "What is the", "is"
            hidden = f"A special magic {kind} is hidden"
        else:
            kind, which, verb = values.plural, "What are all the", "are"
            hidden = f"Some special magic {kind} are hidden"
        return {
            "opening": f"{hidden} within the following text. Make sure to memorize it. "
            f"I will quiz you about the {kind} afterwards.\n",
            "question": f"{which} special magic {kind} for {query} mentioned in the provided text?",
            "answer_prefix": f" The special magic {kind} for {query} mentioned in the provided "
            f"text {verb}",
        }
