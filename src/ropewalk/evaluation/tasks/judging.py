"""What a generated answer is worth.

    exact           the answer stands first, as a whole word (of several answers: all stand in it)
    first_integer   the first integer is the answer, where the answer is one
    recall          share of the answers that stand in it as whole words, in any case of letters
    empty           not right, and nothing that could be an answer: no integer, or no letter and
                    no digit

Right is ``first_integer`` where it applies, else ``exact``; wrong is what is neither right nor
empty. Of answers that are random tokens the ids decide, since several may have one text.

Source: RULER, scripts/eval/synthetic/constants.py (``string_match_all``: recall).
Deviation: an answer must be a whole word, so that 1234567 is not found in 12345678.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ropewalk.evaluation.tasks.sample import Sample

_INTEGER = re.compile(r"\d+")


class Verdict(NamedTuple):
    """``first_integer`` is None where the answer is no integer."""

    exact: bool
    first_integer: bool | None
    recall: float
    empty: bool

    @property
    def right(self) -> bool:
        return self.exact if self.first_integer is None else self.first_integer

    @property
    def wrong(self) -> bool:
        return not self.right and not self.empty


def judged(text: str, ids: Sequence[int], sample: Sample) -> Verdict:
    """Of generated ids and their text."""
    recall = sum(_stands_in(text, each) for each in sample.answer) / len(sample.answer)
    found = _INTEGER.search(text)
    (first, *more), answer_ids = sample.answer, sample.candidates[0]
    if more:
        exact = recall == 1
    else:
        same_ids = tuple(ids[: len(answer_ids)]) == answer_ids
        exact = same_ids or _stands_in(text.lstrip()[: len(first) + 1], first)
    if not more and first.isdecimal():
        first_integer = bool(found and found[0] == first)
        return Verdict(exact=exact, first_integer=first_integer, recall=recall, empty=not found)
    nothing = not exact and not any(each.isalnum() for each in text)
    return Verdict(exact=exact, first_integer=None, recall=recall, empty=nothing)


def judged_by_ids(ids: Sequence[int], sample: Sample) -> Verdict:
    """Of generated ids alone."""
    exact = tuple(ids[: len(sample.candidates[0])]) == sample.candidates[0]
    return Verdict(exact=exact, first_integer=None, recall=float(exact), empty=not ids)


def _stands_in(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
