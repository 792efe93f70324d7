"""ALiBi's two rules: all tokens of a stream, in blocks of n, or each with n tokens before it.

Documents are joined, and the first T tokens count. In blocks, the token before a block is read
and the block's last is not, so that every token of it is scored, the first with one token before
it. Sliding, each token is scored alone, after the n tokens before it: as good as n allows, at
the price of one pass a token.

Source: Press et al. 2021, ALiBi, arXiv:2108.12409, appendix B; ofirpress/
    attention_with_linear_biases, README: ``fairseq-eval-lm --context-window 0`` and ``n - 1``.
Deviation: fairseq opens the stream with its end-of-sentence token; here it is the tokenizer's
    BOS, and without one the first token is not scored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document, joined
from ropewalk.evaluation.protocols.parameters import text_tokens
from ropewalk.evaluation.protocols.protocol import Span, Targets
from ropewalk.evaluation.protocols.published import PublishedRule


@dataclass(frozen=True, slots=True, kw_only=True)
class PressRule(PublishedRule):
    """Blocks of n tokens of the first T. A unit is a block."""

    tokens: int = text_tokens()
    name: ClassVar[str] = "press"

    def texts(self, documents: tuple[Document, ...]) -> tuple[Document, ...]:
        return (joined(documents),)

    def check(self, length: int, document: Document) -> None:
        if not 2 <= length < min(self.tokens, len(document)):
            raise RopewalkError(
                f"length {length}: {self.name} cuts {min(self.tokens, len(document))} tokens into "
                "blocks; give more text, or ask for a shorter length of at least 2"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        end = min(self.tokens, len(document))
        for length in lengths:
            for window, first in enumerate(range(0, end, length)):
                targets = range(first, min(first + length, end))
                yield _span(document, length, window, targets, first_read=first - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PressSlidingRule(PressRule):
    """Each of the first T tokens in a pass of its own. A unit is a block of n, as above."""

    name: ClassVar[str] = "press_sliding"

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        end = min(self.tokens, len(document))
        unread = 0 if document.opening else 1
        for length in lengths:
            for token in range(unread, end):
                alone = range(token, token + 1)
                yield _span(document, length, token // length, alone, first_read=token - length)


def _span(document: Document, length: int, window: int, targets: range, *, first_read: int) -> Span:
    """The targets after what is read from token ``first_read`` on; before token 0: the opening."""
    opening = document.opening if first_read < 0 else ()
    start = max(first_read, 0)
    first = max(len(opening) + targets.start - start, 1)
    fed = len(opening) + targets.stop - start
    scored = Targets(length=length, window=window, first=first, last=fed)
    return Span(start=start, stop=targets.stop, scored=(scored,), opening=opening)
