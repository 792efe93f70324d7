"""Tail: the same targets with ever more context before them.

Of a document of N tokens, window j ends at N - j * (N // (2 W)), j = 0 .. W - 1. At length n
a window is the n tokens before its end (n - 1 after a BOS), and its last K tokens are scored.
The targets are the same for every n, and for every choice of lengths, so that the loss falls with
n if and only if the model makes use of more context.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.protocol import Span
from ropewalk.evaluation.protocols.windows import WindowProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail(WindowProtocol):
    """Windows that end where they end, however long they are."""

    name: ClassVar[str] = "tail"

    def check(self, length: int, document: Document) -> None:
        self.require_context(length)
        earliest = self._ends(document)[-1]
        if earliest < length:
            raise RopewalkError(
                f"length {length}: the earliest of {self.windows} windows of document "
                f"{document.name!r} ({len(document)} tokens) ends after {earliest}; "
                f"give a text of about {2 * length} tokens, or fewer windows"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        for length in lengths:
            for window, end in enumerate(self._ends(document)):
                scored = self.scored(length, window)
                start = end - length + len(document.opening)
                yield Span(start=start, stop=end, scored=(scored,), opening=document.opening)

    def _ends(self, document: Document) -> tuple[int, ...]:
        return tuple(len(document) - shift for shift in self.shifts(document))
