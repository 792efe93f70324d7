"""Published rules with windows that move by a stride S, each opened by the tokenizer's BOS.

Of a document, at most its first T tokens count. With w = n - 1 (n without a BOS), windows are
tokens i S .. min(i S + w, T) - 1, i = 0, 1, ..., until one ends at T. Each scores those of its
tokens that no window before it scored: all w of the first, then S, and what is left at the end.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.averages import Average, OverTokens, OverUnits
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.parameters import PUBLISHED_STRIDE, stride, text_tokens
from ropewalk.evaluation.protocols.protocol import Span, Targets
from ropewalk.evaluation.protocols.published import PublishedRule


@dataclass(frozen=True, slots=True, kw_only=True)
class StrideRule(PublishedRule):
    """Stride S in tokens. A unit is a window."""

    stride: int = stride()

    @property
    @abstractmethod
    def longest_text(self) -> int:
        """T: tokens of a document that count, at most."""

    def check(self, length: int, document: Document) -> None:
        window = length - len(document.opening)
        if window < max(self.stride, 2):
            raise RopewalkError(
                f"length {length}: {self.name} with stride={self.stride} would leave tokens out; "
                "ask for a longer length, or a shorter --stride than the published "
                f"{PUBLISHED_STRIDE}"
            )

        if len(document.opening) + self.longest_text < 2:
            raise RopewalkError(
                f"{self.name} of {self.longest_text} token: nothing stands before it; "
                "expected at least 2"
            )

    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        for length in lengths:
            yield from self._windows(length, document)

    def _windows(self, length: int, document: Document) -> Iterator[Span]:
        opening = document.opening
        end = min(len(document), self.longest_text)
        scored_to = 0
        for window, start in enumerate(range(0, end, self.stride)):
            stop = min(start + length - len(opening), end)
            before = max(len(opening) + scored_to - start, 1)
            fed = len(opening) + stop - start
            if before < fed:  # without a BOS, a lone token has nothing before it
                fresh = Targets(length=length, window=window, first=before, last=fed)
                yield Span(start=start, stop=stop, scored=(fresh,), opening=opening)
            scored_to = stop
            if stop == end:
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class PoSERule(StrideRule):
    """Every scored token weighs the same.

    tokens  T; the published script reads each document to a limit of its own

    Source: dwzhu-pku/PoSE, ``src/eval_ppl.py`` (Zhu et al. 2023, PoSE, arXiv:2309.10400).
    Deviation: none.
    """

    tokens: int = text_tokens()
    name: ClassVar[str] = "pose"
    average: ClassVar[Average] = OverTokens()

    @property
    def longest_text(self) -> int:
        return self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnRule(StrideRule):
    """The mean of the windows' mean losses: the first window, of n tokens, weighs like each of
    the following, of S tokens.

    tokens  T; the published script reads whole documents

    Source: jquesnelle/yarn, ``eval/perplexity.py``, as used for GovReport (Peng et al. 2023,
        YaRN, arXiv:2309.00071).
    Deviation: none but T.
    """

    tokens: int = text_tokens()
    name: ClassVar[str] = "yarn"
    average: ClassVar[Average] = OverUnits()

    @property
    def longest_text(self) -> int:
        return self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRoPERule(StrideRule):
    """As ``YarnRule``, of the first 10 S tokens alone: at S = 256, figures of more than 2,560
    tokens are all the same figure.

    Source: microsoft/LongRoPE, ``evaluation/perplexity.py`` without ``--truncate``, which is
        then ``YarnTruncated`` (Ding et al. 2024, arXiv:2402.13753).
    Deviation: none.
    """

    name: ClassVar[str] = "longrope"
    average: ClassVar[Average] = OverUnits()

    @property
    def longest_text(self) -> int:
        return 10 * self.stride
