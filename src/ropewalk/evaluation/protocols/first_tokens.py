"""Published rules that score the first n tokens of each document, in one window.

The window is the tokenizer's BOS and the first n - 1 tokens of a document, or its first n where
the tokenizer has no BOS. All its tokens but the first are scored. A shorter document is kept as
it is, so that not every document of a figure has the length of the figure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.averages import Average, OfPerplexities, OverUnits
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.protocol import Span, Targets
from ropewalk.evaluation.protocols.published import PublishedRule


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTokens(PublishedRule):
    """One window a document. A unit is a document."""

    def check(self, length: int, document: Document) -> None:
        if length < 2:
            raise RopewalkError(
                f"length {length}: {self.name} scores from the second token on; ask for at least 2"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        opening = document.opening
        for length in lengths:
            stop = min(length - len(opening), len(document))
            scored = Targets(length=length, window=0, first=1, last=len(opening) + stop)
            yield Span(start=0, stop=stop, scored=(scored,), opening=opening)


@dataclass(frozen=True, slots=True, kw_only=True)
class NormXURule(FirstTokens):
    """The mean over documents of their perplexities.

    Source: NormXU 2023, Consistent-DynamicNTKRoPE, ``eval_ppl.py``.
    Deviation: none in the figure; documents of a batch are padded there, which scores the same.
    """

    name: ClassVar[str] = "normxu"
    average: ClassVar[Average] = OfPerplexities()


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnTruncatedRule(FirstTokens):
    """The exponential of the mean over documents of their mean losses.

    Source: jquesnelle/yarn, ``eval/perplexity.py --truncate`` (Peng et al. 2023, YaRN,
        arXiv:2309.00071, tables 1 and 2, whose captions say a sliding window of 256).
    Deviation: none.
    """

    name: ClassVar[str] = "yarn_truncated"
    average: ClassVar[Average] = OverUnits()
