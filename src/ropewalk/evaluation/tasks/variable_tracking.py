"""Variable tracking: a chain of assignments in noise, and all variables that hold its value.

    VAR ABCDE = 12345 ... VAR FGHIJ = VAR ABCDE ... (four hops)

An example with short names and two hops stands before the text.

Source: Hsieh et al. 2024, RULER, arXiv:2404.06654, section 3; scripts/data/synthetic/
variable_tracking.py. Deviation: the example is two hops in five sentences (upstream: a whole
sample of at most 500 tokens); a second chain, of another value, is the
distractor (upstream has one chain).
"""

import string
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from ropewalk.evaluation.tasks import words
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Noise
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

HOPS = 4
INSTRUCTION = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VariableTracking(Generator):
    """Samples of the task."""

    name: ClassVar[str] = "vt"
    room: ClassVar[int] = 30
    haystack: Noise

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        values = words.numbers(rng, 3, digits=5)
        variables = words.letters(rng, 2 * (HOPS + 1), 5, string.ascii_uppercase)
        asked, other = variables[: HOPS + 1], variables[HOPS + 1 :]
        needles = [
            *zip(_chain(asked, values[0]), self._depths(place.depth, rng), strict=True),
            *zip(_chain(other, values[1]), sorted(rng.random(HOPS + 1)), strict=True),
        ]
        question, prefix = _question(values[0], HOPS + 1)
        draft = Draft(
            task=self.name,
            opening=_example(rng, values[2]) + INSTRUCTION,
            needles=tuple((text, float(depth)) for text, depth in needles),
            question=question,
            answer_prefix=prefix,
            answer=tuple(asked),
            distractors=(tuple(other),),
            max_new_tokens=self.room,
        )
        return fitted(draft, self.haystack, tokens, place.length, rng)

    def _depths(self, first: float, rng: np.random.Generator) -> list[float]:
        """The chain in order: its beginning at ``first``, the rest anywhere after it."""
        return [first, *sorted(first + (1 - first) * rng.random(HOPS))]


def _chain(variables: list[str], value: str) -> list[str]:
    links = [f"VAR {new} = VAR {old}" for old, new in pairwise(variables)]
    return [f"VAR {variables[0]} = {value}", *links]


def _question(value: str, count: int) -> tuple[str, str]:
    question = (
        f"Question: Find all variables that are assigned the value {value} in the text above."
    )
    prefix = (
        " Answer: According to the chain(s) of variable assignment in the text above, "
        f"{count} variables are assigned the value {value}, they are:"
    )
    return question, prefix


def _example(rng: np.random.Generator, value: str) -> str:
    variables = words.letters(rng, 3, 3, string.ascii_uppercase)
    question, prefix = _question(value, len(variables))
    lines = "\n".join(_chain(variables, value))
    return f"{INSTRUCTION}{lines}\n{question}{prefix} {', '.join(variables)}\n\n"
