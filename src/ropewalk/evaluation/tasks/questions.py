"""Questions over documents: a file of questions, each with the document that answers it.

The document stands at the depth asked for; up to three others, whose questions have other answers,
stand anywhere; more documents fill the length, and the noise line
where they end. Where too few documents have other answers, those of the same one are distractors.

Source: Hsieh et al. 2024, RULER, arXiv:2404.06654, section 3; scripts/data/synthetic/qa.py.
Deviation: questions come from a file, not from SQuAD or HotpotQA.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Lines
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

OTHERS = 3
_HALF = re.compile("[\ud800-\udfff]")
INSTRUCTION = (
    "Answer the question based on the given documents. Only give me the answer and do not output "
    "any other words."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, its answer, and the document that holds it."""

    document: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Questions(Generator):
    """Samples of the task: a trial takes the question of its number."""

    name: ClassVar[str] = "qa"
    room: ClassVar[int] = 32
    questions: tuple[Question, ...]

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        asked = self.questions[place.trial % len(self.questions)]
        shuffled = [self.questions[at] for at in rng.permutation(len(self.questions))]
        wrong = [each for each in shuffled if each.answer != asked.answer]
        others = _others(asked, wrong)
        shown = dict.fromkeys(each.document for each in (asked, *others))
        depths = [place.depth, *rng.random(len(shown) - 1).tolist()]
        draft = Draft(
            task=self.name,
            opening=f"{INSTRUCTION}\n\nThe following are given documents.\n\n",
            needles=tuple(
                (_document(each), depth) for each, depth in zip(shown, depths, strict=True)
            ),
            question=f"{INSTRUCTION}\n\nQuestion: {asked.question}",
            answer_prefix=" Answer:",
            answer=(asked.answer,),
            distractors=tuple((each.answer,) for each in others),
            max_new_tokens=self.room,
        )
        rest = [each.document for each in wrong if each.document not in shown]
        filler = [_document(each) for each in dict.fromkeys(rest)]
        haystack = Lines.given(filler, tokens, place.length)
        return fitted(draft, haystack, tokens, place.length, rng)


def _others(asked: Question, wrong: Sequence[Question]) -> list[Question]:
    """Of the questions with other answers, one an answer: those of other documents first."""
    far = {each.answer: each for each in wrong if each.document != asked.document}
    near = {each.answer: each for each in wrong if each.answer not in far}
    return [*far.values(), *near.values()][:OTHERS]


def read_questions(path: Path) -> tuple[Question, ...]:
    """A JSONL file: ``document``, ``question`` and ``answer`` on each line.

    Raises RopewalkError if it cannot be read, holds no JSON, lacks a field, or has fewer than
    two different answers.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise RopewalkError(f"{path}: expected JSON lines in UTF-8 ({error})") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    questions = tuple(_question(f"{path}, line {number}", line) for number, line in numbered)
    if len({each.answer for each in questions}) < 2:
        raise RopewalkError(f"{path}: expected questions with at least two different answers")
    return questions


def _question(where: str, line: str) -> Question:
    fields = ("document", "question", "answer")
    try:
        row = json.loads(line)
    except ValueError as error:
        reason = getattr(error, "msg", error)  # its own place is within the line
        raise RopewalkError(f"{where}: expected JSON lines in UTF-8 ({reason})") from error
    values = [row.get(each) if isinstance(row, dict) else None for each in fields]
    if not all(isinstance(value, str) and value.strip() for value in values):
        raise RopewalkError(f"{where}: expected the texts {', '.join(fields)}")
    if (half := _HALF.search("".join(map(str, values)))) is not None:
        raise RopewalkError(
            f"{where}: {half[0]!a} is half a character; expected text that can be written as UTF-8"
        )
    document, question, answer = map(str, values)
    return Question(document=document, question=question, answer=answer.strip())


def _document(text: str) -> str:
    return f"Document: {text}\n"
