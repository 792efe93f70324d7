"""Induction: random tokens, four of them again, and the four that followed them.

    a b c d e f g h i ... c d e f -> g h i j

What followed three other places is the distractors. Needs no training on language.

Source: Olsson et al. 2022, In-context Learning and Induction Heads, arXiv:2209.11895.
Deviation: four tokens as a cue, so that it is unique where the vocabulary is small.
"""

from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.generator import Place
from ropewalk.evaluation.tasks.random_tokens import DISTRACTORS, RandomTokens, drawn, sample_of
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

CUE = 4
COPIED = 4
SPAN = CUE + COPIED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Induction(RandomTokens):
    """Samples of the task.

    pool  ids to draw from
    """

    name: ClassVar[str] = "induction"
    room: ClassVar[int] = COPIED
    pool: tuple[int, ...]

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        count = place.length - len(tokens.opening) - SPAN
        spans = count // SPAN
        if spans < 1 + DISTRACTORS:
            shortest = len(tokens.opening) + (2 + DISTRACTORS) * SPAN
            raise RopewalkError(
                f"induction at length {place.length}: expected at least {shortest} tokens, "
                f"room for {1 + DISTRACTORS} spans of {SPAN} and the cue; ask for more"
            )
        context = drawn(rng, self.pool, count)
        asked = round(place.depth * (spans - 1))
        elsewhere = rng.choice(spans - 1, size=DISTRACTORS, replace=False)
        places = [asked, *(int(at) + (at >= asked) for at in elsewhere)]
        starts = [at * SPAN for at in places]
        return sample_of(
            self.name,
            tokens,
            context=context,
            cue=context[starts[0] : starts[0] + CUE],
            candidates=[context[start + CUE : start + SPAN] for start in starts],
            depth=starts[0] / count,
        )
