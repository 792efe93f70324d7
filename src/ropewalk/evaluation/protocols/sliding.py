"""Sliding: a window of n tokens moves over the first T tokens of each document by S.

The first window scores its tokens 1 .. n - 1. Windows then end at n + S, n + 2 S, ..., T;
each holds n tokens and scores only those that no window before it scored. So every token
but the first is scored exactly once, the same ones for every length, each (after the
first window) with at least n - S tokens before it. With a BOS, each window begins with it and
holds n - 1 of the document, the first ends at n - 1, and the first token is scored too.

Source: Press et al. 2021, ALiBi, arXiv:2108.12409, appendix B; Chen et al. 2023, PI,
arXiv:2306.15595, section 3.2 (S = 256).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.parameters import STRIDE, parameter, text_tokens
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol, Span, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliding(EvaluationProtocol):
    """Stride S and text T, both in tokens, the same for all lengths. A unit is a document.

    S is half the shortest length by default, at most a quarter of the trained length. About T / S
    passes of n tokens for each length and document.
    """

    stride: int = parameter(lambda scope: max(min(scope.quarter, scope.lengths[0] // 2), 1), STRIDE)
    tokens: int = text_tokens()
    name: ClassVar[str] = "sliding"

    def check(self, length: int, document: Document) -> None:
        if length <= self.stride:
            raise RopewalkError(
                f"length {length}: sliding by stride={self.stride} would score tokens with "
                f"nothing before them; ask for a stride of at most {max(length - 1, 1)}, "
                "or for longer lengths"
            )
        if length > self.tokens:
            raise RopewalkError(
                f"length {length}: sliding covers the first tokens={self.tokens} tokens of a "
                f"document; ask for tokens={length} or more, or for a shorter length"
            )
        if self.tokens > len(document):
            raise RopewalkError(
                f"document {document.name!r} has {len(document)} tokens: sliding covers the "
                f"first tokens={self.tokens}; give a longer text, or fewer tokens"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        for length in lengths:
            opening = document.opening
            own, scored_to = length - len(opening), 0 if opening else 1
            for stop in (*range(own, self.tokens, self.stride), self.tokens):
                start = stop - own
                first = len(opening) + scored_to - start
                fresh = Targets(length=length, window=0, first=first, last=length)
                yield Span(start=start, stop=stop, scored=(fresh,), opening=opening)
                scored_to = stop
