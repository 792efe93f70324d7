"""Prefix: the mean over the first n tokens of each document.

Tokens 1 .. n - 1 are scored (token 0, the BOS if there is one, has nothing before it). A falling
curve partly shows that later tokens have more context, whatever the method; ``tail`` does not have
that fault.

Source: the "truncated" perplexity of Peng et al. 2023, YaRN, arXiv:2309.00071, section 4.
Deviation: the released script averages window means; here sums are divided by tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol, Sharing, Span, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix(EvaluationProtocol):
    """All of the first n tokens. A unit is a document."""

    name: ClassVar[str] = "prefix"

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        return sharing.groups(lengths)

    def check(self, length: int, document: Document) -> None:
        if length < 2:
            raise RopewalkError(
                f"length {length}: prefix scores from the second token on; ask for at least 2"
            )
        if length > len(document):
            raise RopewalkError(
                f"length {length}: document {document.name!r} has {len(document)} tokens; "
                "give a longer text, or ask for a shorter length"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        scored = tuple(Targets(length=n, window=0, first=1, last=n) for n in lengths)
        stop = max(lengths) - len(document.opening)
        yield Span(start=0, stop=stop, scored=scored, opening=document.opening)
