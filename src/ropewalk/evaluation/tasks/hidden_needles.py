"""Needles without lexical overlap: question and needle share no word but the ones all texts have.

    Anton keeps a stall beside the Rialto Bridge. -> Which character has been to Venice?

Four people have been to four places; the other three are the distractors.

Source: Modarressi et al. 2025, NoLiMa, arXiv:2502.05167, table 2. Deviation: own pairs; four
needles instead of one.
"""

from dataclasses import dataclass
from typing import ClassVar

from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Prose
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

HIDDEN = 4
PEOPLE = ("Anton", "Beatrix", "Caleb", "Dora", "Edgar", "Fiona", "Gustav", "Helga", "Ivan", "Julia")
FACTS = (
    ("keeps a stall beside the Rialto Bridge", "Venice"),
    ("paints portraits under the Eiffel Tower", "Paris"),
    ("sells roasted chestnuts in front of the Colosseum", "Rome"),
    ("rents a room that overlooks the Brandenburg Gate", "Berlin"),
    ("feeds the pigeons at Trafalgar Square", "London"),
    ("plays the violin outside of the Hofburg", "Vienna"),
    ("polishes the bells of Notre-Dame de la Garde", "Marseille"),
    ("guards the steps of the Parthenon", "Athens"),
    ("sweeps the courtyard of the Topkapi Palace", "Istanbul"),
    ("draws the towers of the Sagrada Familia", "Barcelona"),
    ("repairs clocks next to the Charles Bridge", "Prague"),
    ("rows visitors past the Hermitage", "Petersburg"),
    ("measures the shadow of the Great Sphinx", "Giza"),
    ("counts the ferries below the Golden Gate", "California"),
    ("waters the lawn of the Taj Mahal", "Agra"),
    ("photographs the roof of the Opera House at Bennelong Point", "Sydney"),
    ("tends the deer in front of the Todai-ji", "Nara"),
    ("carves canes near the Christ on Corcovado", "Brazil"),
    ("bakes bread behind the Little Mermaid", "Copenhagen"),
    ("teaches chess in the shade of the Atomium", "Brussels"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HiddenNeedles(Generator):
    """Samples of the task."""

    name: ClassVar[str] = "needle_no_overlap"
    room: ClassVar[int] = 16
    haystack: Prose

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        people = [PEOPLE[at] for at in rng.permutation(len(PEOPLE))[:HIDDEN]]
        facts = [FACTS[at] for at in rng.permutation(len(FACTS))[:HIDDEN]]
        depths = [place.depth, *rng.random(HIDDEN - 1).tolist()]
        draft = Draft(
            task=self.name,
            opening="You will answer a question based on the following text.\n",
            needles=tuple(
                (f"{person} {fact}.", depth)
                for person, (fact, _), depth in zip(people, facts, depths, strict=True)
            ),
            question=f"Question: Which character has been to {facts[0][1]}?",
            answer_prefix=" Answer: The character is",
            answer=(people[0],),
            distractors=tuple((person,) for person in people[1:]),
            max_new_tokens=self.room,
        )
        return fitted(draft, self.haystack, tokens, place.length, rng)
