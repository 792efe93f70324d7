"""Tail: the same targets with ever more context before them.

Of a document of N tokens, window j ends at N - j * (N // (2 W)), j = 0 .. W - 1. At length n
a window is the n tokens before its end, and its last K tokens are scored. The targets are
the same for every n, and for every choice of lengths, so that the loss falls with n if and
only if the model makes use of more context.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols import (
    EvaluationProtocol,
    Scored,
    Span,
    require_context,
    require_positive,
    window_spacing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail(EvaluationProtocol):
    """The last ``tokens`` tokens of each of ``windows`` windows. A unit is a window."""

    tokens: int = 128
    windows: int = 8
    name: ClassVar[str] = "tail"

    def __post_init__(self) -> None:
        require_positive(self)

    def check(self, length: int, document: Document) -> None:
        require_context(self, length, self.tokens)
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
                last = Scored(length=length, window=window, first=length - self.tokens, last=length)
                yield Span(start=end - length, stop=end, scored=(last,))

    def _ends(self, document: Document) -> tuple[int, ...]:
        spacing = window_spacing(self, document, tokens=self.tokens, windows=self.windows)
        return tuple(len(document) - window * spacing for window in range(self.windows))
