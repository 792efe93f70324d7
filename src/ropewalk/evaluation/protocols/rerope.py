"""ReRoPE's rule: the last K tokens of each sample, as ``tail`` with one window.

The model reads n tokens; the K tokens after the first n - K of these are scored, the last of
them not read itself. A sample of fewer tokens is opened by the tokenizer's BOS. The figure is
the mean over samples of their mean losses.

Source: bojone/rerope, ``eval_loss.py`` (K = 4096, samples of 15,000 tokens).
Deviation: none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.averages import Average, OverUnits
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.parameters import TAIL_TOKENS, parameter
from ropewalk.evaluation.protocols.protocol import Span, Targets
from ropewalk.evaluation.protocols.published import PublishedRule

PUBLISHED_TOKENS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ReRoPERule(PublishedRule):
    """K tokens of each document. A unit is a document."""

    tokens: int = parameter(lambda scope: min(PUBLISHED_TOKENS, scope.lengths[0]), TAIL_TOKENS)
    name: ClassVar[str] = "rerope"
    average: ClassVar[Average] = OverUnits()

    def check(self, length: int, document: Document) -> None:
        read = min(length, len(document.opening) + len(document) - 1)
        if read < self.tokens:
            raise RopewalkError(
                f"length {length}: {self.name} scores {self.tokens} tokens, and of document "
                f"{document.name!r} {read} are read; ask for fewer scored tokens, or give a "
                "longer text and length"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        for length in lengths:
            whole = len(document) <= length
            start, opening = (0, document.opening) if whole else (len(document) - length - 1, ())
            fed = len(opening) + len(document) - start
            last = Targets(length=length, window=0, first=fed - self.tokens, last=fed)
            yield Span(start=start, stop=len(document), scored=(last,), opening=opening)
