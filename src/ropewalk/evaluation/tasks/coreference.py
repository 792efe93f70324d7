"""Multi-round coreference: of several notes on one subject, the one that is asked for by number.

    User: Write a note about rivers. ... Assistant: ...
    Question: Repeat the beginning of the second note about rivers.

Notes are sentences of the given texts; four of them are about the subject asked for, and those not
asked for are the distractors.

Source: Vodrahalli et al. 2024, Michelangelo, arXiv:2409.12640, section 3.2 (MRCR). Deviation:
notes are taken from texts, not written by a model; the first words are asked for, not all.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Lines, Prose
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.evaluation.tasks.words import NOUNS

ALIKE = 4
WORDS = 6
"""Of a note, asked for."""
ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coreference(Generator):
    """Samples of the task."""

    name: ClassVar[str] = "coreference"
    room: ClassVar[int] = 32
    notes: tuple[str, ...]

    @classmethod
    def of(cls, prose: Prose) -> "Coreference":
        """Notes are the sentences of more than six words, no two with the same beginning.

        Raises RopewalkError for fewer than four.
        """
        long = [each for each in prose.sentences if len(each.split()) > WORDS]
        notes = tuple({_beginning(each): each for each in long}.values())
        if len(notes) < ALIKE:
            raise RopewalkError(
                f"coreference: {len(notes)} sentences of more than {WORDS} words begin "
                f"differently: expected at least {ALIKE}; give a longer --text"
            )
        return cls(notes=notes)

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        subject, *others = (NOUNS[at] for at in rng.permutation(len(NOUNS)))
        notes = self._notes(rng, ALIKE)
        depths = [place.depth, *rng.random(ALIKE - 1).tolist()]
        order = sorted(range(ALIKE), key=lambda number: depths[number])
        which = ORDINALS[order.index(0)]
        beginnings = [(_beginning(note),) for note in notes]
        draft = Draft(
            task=self.name,
            opening="A conversation follows. Memorize it. I will quiz you about it afterwards.\n",
            needles=tuple(
                (_round(subject, note), depth) for note, depth in zip(notes, depths, strict=True)
            ),
            question=f"Question: Repeat the beginning of the {which} note about the {subject}.",
            answer_prefix=f" Answer: The {which} note about the {subject} begins:",
            answer=beginnings[0],
            distractors=tuple(beginnings[1:]),
            max_new_tokens=self.room,
        )

        def rounds(count: int) -> list[str]:
            subjects = (others[int(at)] for at in rng.integers(len(others), size=count))
            return [_round(*each) for each in zip(subjects, self._notes(rng, count), strict=True)]

        straw = Lines.of(rounds, tokens, place.length)
        return fitted(draft, straw, tokens, place.length, rng)

    def _notes(self, rng: np.random.Generator, count: int) -> list[str]:
        """Sentences that begin differently."""
        picks = rng.choice(len(self.notes), size=count, replace=count > len(self.notes))
        return [self.notes[int(at)] for at in picks]


def _beginning(note: str) -> str:
    return " ".join(note.split()[:WORDS])


def _round(subject: str, note: str) -> str:
    return f"User: Write a note about the {subject}. Assistant: {note}"
