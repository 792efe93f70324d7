"""Key-value recall: pairs of random tokens, one key again, and its value.

    c : x , a : z , b : y , ... a : -> z

Keys are as many tokens as make all of them different; values are one token. Three other values in
the text are the distractors.

Source: Arora et al. 2023, Zoology, arXiv:2312.04927, section 3 (multi-query associative recall);
Liu et al. 2023, Lost in the Middle, arXiv:2307.03172, section 3. Deviation: one query; separators.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.random_tokens import DISTRACTORS, RandomTokens, drawn, sample_of
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyValue(RandomTokens):
    """Samples of the task.

    pool     ids to draw from, without the separators
    between  the id between key and value
    after    the id after a pair
    """

    name: ClassVar[str] = "key_value"
    room: ClassVar[int] = 1
    pool: tuple[int, ...]
    between: int
    after: int

    @classmethod
    def of(cls, tokens: Tokens) -> "KeyValue":
        """With a colon and a comma."""
        between, after = tokens.ids(":")[-1], tokens.ids(",")[-1]
        pool = tuple(each for each in tokens.ordinary() if each not in (between, after))
        return cls(pool=pool, between=between, after=after)

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        room = place.length - len(tokens.opening) - 1
        width = self._width(room)
        pairs = (room - width - 1) // (width + 3)
        if pairs < 1 + DISTRACTORS:
            shortest = place.length - room + width + 1 + (1 + DISTRACTORS) * (width + 3)
            raise RopewalkError(
                f"key_value at length {place.length}: expected at least {shortest} tokens, room "
                f"for {1 + DISTRACTORS} pairs and the key; ask for more"
            )
        keys, values = self._keys(rng, pairs, width), drawn(rng, self.pool, pairs)
        asked = round(place.depth * (pairs - 1))
        first = drawn(rng, self.pool, room - width - 1 - pairs * (width + 3))
        context = first + [
            each
            for key, value in zip(keys, values, strict=True)
            for each in (*key, self.between, value, self.after)
        ]
        others = sorted({value for value in values if value != values[asked]})
        wrong = rng.choice(others, size=DISTRACTORS, replace=False).tolist()
        return sample_of(
            self.name,
            tokens,
            context=context,
            cue=[*keys[asked], self.between],
            candidates=[[value] for value in (values[asked], *wrong)],
            depth=(len(first) + asked * (width + 3)) / len(context),
        )

    def _width(self, room: int) -> int:
        """Tokens of a key."""
        width = 1
        while len(self.pool) ** width < room // (width + 3):
            width += 1
        return width

    def _keys(self, rng: np.random.Generator, count: int, width: int) -> list[list[int]]:
        base = len(self.pool)
        picks = map(int, rng.choice(base**width, size=count, replace=False))
        return [[self.pool[n // base**at % base] for at in range(width)] for n in picks]
