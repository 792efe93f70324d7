"""A sample of a task: a prompt, its answer, and the answers that would be wrong."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question about one context, as text and as the ids that a model is fed.

    answer          what is asked for: one string, or several in the order of the text
    distractors     other answers that stand in the text, each like ``answer``; none if there are
                    no others
    depth           share of the context before what is asked for (of several, the first), 0 to 1;
                    None where all of the context is
    max_new_tokens  room for the generated answer; the ids and it make up the length asked for
    ids             of BOS, context, question and answer prefix
    candidates      ids of the answer and of each distractor after ``ids``, at least one each
    """

    task: str
    context: str
    question: str
    answer_prefix: str
    answer: tuple[str, ...]
    max_new_tokens: int
    distractors: tuple[tuple[str, ...], ...] = ()
    depth: float | None
    ids: tuple[int, ...] = field(repr=False)
    candidates: tuple[tuple[int, ...], ...] = field(repr=False)

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the room for the answer."""
        return len(self.ids) + self.max_new_tokens

    def row(self) -> dict[str, Any]:
        """The schema of kvpress and ``simonjegou/ruler``, with ``distractors`` and ``depth``."""
        names = ("context", "question", "answer_prefix", "max_new_tokens", "task", "depth")
        row: dict[str, Any] = {name: getattr(self, name) for name in names}
        row["answer"] = list(self.answer)
        row["distractors"] = [list(each) for each in self.distractors]
        return row
