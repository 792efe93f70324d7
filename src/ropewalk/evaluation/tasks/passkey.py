"""Passkey: one number in noise.

    The pass key is 48213. Remember it. 48213 is the pass key.

Always five digits, whole sentences. No other number stands in the text, so there is nothing to
rank the answer among.

Source: Mohtashami and Jaggi 2023, arXiv:2305.16300, section 4.2; jquesnelle/yarn eval/passkey.py.
Deviation: upstream cuts the noise at a random character, and its key has one to five digits.
"""

from dataclasses import dataclass
from typing import ClassVar

from ropewalk.evaluation.tasks import words
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Noise
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passkey(Generator):
    """Samples of the task."""

    name: ClassVar[str] = "passkey"
    room: ClassVar[int] = 10
    haystack: Noise

    @property
    def ranked(self) -> bool:
        return False

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        (key,) = words.numbers(rng, 1, digits=5)
        draft = Draft(
            task=self.name,
            opening="There is an important info hidden inside a lot of irrelevant text. Find it "
            "and memorize it. I will quiz you about the important information there.\n",
            needles=((f"The pass key is {key}. Remember it. {key} is the pass key.", place.depth),),
            question="What is the pass key?",
            answer_prefix=" The pass key is",
            answer=(key,),
            max_new_tokens=self.room,
        )
        return fitted(draft, self.haystack, tokens, place.length, rng)
