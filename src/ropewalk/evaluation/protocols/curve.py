"""Curve: loss by position.

Of a document of N tokens, window j starts at j * (N // (2 W)), j = 0 .. W - 1, whatever the
lengths. The figure of length n is the mean loss of the K tokens before position n of each
window: tokens n - K .. n - 1 of its sequence, BOS included. For a prefix-consistent method one
pass at the longest length serves all lengths. Unlike ``tail``, each length has targets of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.protocol import Sharing, Span
from ropewalk.evaluation.protocols.windows import WindowProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve(WindowProtocol):
    """Windows that start where they start, however long they are."""

    name: ClassVar[str] = "curve"

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        return sharing.groups(lengths)

    def check(self, length: int, document: Document) -> None:
        self.require_context(length)
        latest = self.shifts(document)[-1]
        if latest + length > len(document):
            raise RopewalkError(
                f"length {length}: the last of {self.windows} windows of document "
                f"{document.name!r} ({len(document)} tokens) starts at {latest} and has "
                f"{len(document) - latest}; give a text of about {2 * length} tokens, "
                "or fewer windows"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        for window, start in enumerate(self.shifts(document)):
            scored = tuple(self.scored(length, window) for length in lengths)
            stop = start + max(lengths) - len(document.opening)
            yield Span(start=start, stop=stop, scored=scored, opening=document.opening)
