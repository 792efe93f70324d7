"""ChunkLlama's rule: every token of overlapping windows of one stream.

Documents are joined. Windows of n tokens start at 0, S, 2 S, ... below T - n, without the last
of these; each scores all its tokens but the first, so that a token is scored up to n / S times,
mostly with little before it. The figure is the mean of the windows' means.

Source: HKUNLP/ChunkLlama, ``ppl/test_ppl.py`` (An et al. 2024, arXiv:2402.17463).
Deviation: the script's perplexity is 2.71828 to the power of the figure, which is smaller by
    less than 1e-6 of itself for each nat.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.averages import Average, OverUnits
from ropewalk.evaluation.bos import BosTokenizer
from ropewalk.evaluation.documents import Document, joined
from ropewalk.evaluation.protocols.parameters import stride, text_tokens
from ropewalk.evaluation.protocols.protocol import Span, Targets
from ropewalk.evaluation.protocols.published import PublishedRule, require_auto


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLlamaRule(PublishedRule):
    """Stride S; T tokens of the stream (the script reads all). A unit is a window."""

    stride: int = stride()
    tokens: int = text_tokens()
    name: ClassVar[str] = "chunkllama"
    average: ClassVar[Average] = OverUnits()

    @classmethod
    def opening(cls, tokenizer: BosTokenizer, bos: str) -> tuple[int, ...]:
        """None: windows stand where they stand in the stream."""
        require_auto(cls.name, bos)
        return ()

    def texts(self, documents: tuple[Document, ...]) -> tuple[Document, ...]:
        return (joined(documents),)

    def check(self, length: int, document: Document) -> None:
        if length < 2 or not self._starts(length, document):
            needed = length + self.stride + 1
            raise RopewalkError(
                f"length {length}: {self.name} leaves out its last window, and needs "
                f"{needed} of {min(len(document), self.tokens)} tokens; give more text, or ask "
                "for a shorter length of at least 2"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        for length in lengths:
            for window, start in enumerate(self._starts(length, document)):
                scored = Targets(length=length, window=window, first=1, last=length)
                yield Span(start=start, stop=start + length, scored=(scored,))

    def _starts(self, length: int, document: Document) -> range:
        end = min(len(document), self.tokens)
        return range(0, end - length, self.stride)[:-1]
