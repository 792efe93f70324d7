"""Loss: negative log-likelihoods of the tokens that a protocol names, in nats."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.bootstrap import figure, interval
from ropewalk.evaluation.cost import pass_cost
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol, Sharing, Span
from ropewalk.evaluation.tasks.task import Advance, Task
from ropewalk.evaluation.units import BITS_PER_BYTE, LOSS, Metric, Ratio, Unit, total

LARGEST_LOSS = 700.0
"""Nats: beyond, a perplexity overflows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss(Task):
    """The loss of the scored tokens of ``texts``, which the protocol has cut or joined already."""

    protocol: EvaluationProtocol
    texts: tuple[Document, ...]

    @property
    def text(self) -> str:
        return LOSS.name

    @property
    def metric(self) -> Metric:
        return Metric(name=LOSS.name, average=self.protocol.average)

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        return self.protocol.groups(lengths, sharing)

    def check(self, length: int) -> None:
        for text in self.texts:
            self.protocol.check(length, text)

    def cost(self, lengths: Sequence[int], split: Pass) -> float:
        return _cost(self._sequences(lengths), split)

    def units(
        self,
        model: LanguageModel,
        lengths: Sequence[int],
        split: Pass,
        *,
        batch: int,
        advance: Advance,
    ) -> Mapping[int, tuple[Unit, ...]]:
        sums = _Sums()
        for passage, losses in self.passages(model, lengths, split, batch=batch, advance=advance):
            sums.add(passage, losses)
        return {length: sums.units(length) for length in lengths}

    def passages(
        self,
        model: LanguageModel,
        lengths: Sequence[int],
        split: Pass,
        *,
        batch: int,
        advance: Advance,
    ) -> Iterator[tuple["Passage", Tensor]]:
        """Every sequence that serves ``lengths``, and its losses from the first scored token on.

        Raises RopewalkError for a loss that is not finite.
        """
        for together in _batches(self._sequences(lengths), batch):
            yield from zip(together, _losses(model, together, split), strict=True)
            advance(_cost(together, split))

    def fields(self, units: Sequence[Unit]) -> dict[str, Any]:
        """nll in nats per token, ppl = exp(nll), ci95 = [low, high] of nll."""
        nll, spread = figure(units, self.metric), interval(units, self.metric)
        bits, size = total(units, BITS_PER_BYTE)
        return {
            "documents": len({unit.document for unit in units}),
            "tokens_scored": int(total(units, LOSS).denominator),
            "nll": nll,
            "ppl": math.exp(nll) if nll < LARGEST_LOSS else None,
            "bits_per_byte": bits / size if size else None,
            "ci95": [spread.low, spread.high] if spread else None,
            "ci95_over": spread.drawn if spread else None,
        }

    def _sequences(self, lengths: Sequence[int]) -> Iterator["Passage"]:
        for number, text in enumerate(self.texts):
            for span in self.protocol.spans(lengths, text) if lengths else ():
                yield Passage(number=number, text=text, span=span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A span of document ``number`` as it goes through a model."""

    number: int
    text: Document
    span: Span

    @property
    def ids(self) -> Tensor:
        """int64 ``[n]``."""
        own = self.text.ids[self.span.start : self.span.stop]
        return torch.cat([own.new_tensor(self.span.opening), own]) if self.span.opening else own

    @property
    def shape(self) -> tuple[int, int]:
        """Its length, and the index of its first scored token."""
        return len(self.span), self.span.first


@dataclass(frozen=True, slots=True)
class _Sums:
    """[nats, tokens, bytes] by length, document and window."""

    held: dict[tuple[int, int, int], list[float]] = field(default_factory=dict)

    def add(self, sequence: Passage, losses: Tensor) -> None:
        span, text = sequence.span, sequence.text
        for scored in span.scored:
            index = (scored.length, sequence.number, scored.window)
            sums = self.held.setdefault(index, [0.0, 0, 0])
            sums[0] += losses[scored.first - span.first : scored.last - span.first].sum().item()
            sums[1] += scored.last - scored.first
            sums[2] += text.bytes_between(span.place(scored.first), span.place(scored.last))

    def units(self, length: int) -> tuple[Unit, ...]:
        return tuple(
            Unit(
                document=document,
                window=window,
                values={
                    LOSS.name: Ratio(nats, tokens),
                    BITS_PER_BYTE.name: Ratio(nats / math.log(2), size),
                },
            )
            for (of, document, window), (nats, tokens, size) in sorted(self.held.items())
            if of == length
        )


def _cost(sequences: Iterable[Passage], split: Pass) -> float:
    return sum(pass_cost(len(each.span), split) for each in sequences)


def _batches(sequences: Iterable[Passage], size: int) -> Iterator[tuple[Passage, ...]]:
    """Consecutive sequences of one shape, at most ``size`` at once."""
    batch: list[Passage] = []
    for each in sequences:
        if batch and (len(batch) == size or batch[0].shape != each.shape):
            yield tuple(batch)
            batch = []
        batch.append(each)
    if batch:
        yield tuple(batch)


def _losses(model: LanguageModel, batch: Sequence[Passage], split: Pass) -> Sequence[Tensor]:
    """Losses ``[n - first]`` of each sequence of one shape."""
    length, first = batch[0].shape
    ids = torch.stack([each.ids for each in batch])
    losses = model.token_losses(ids if len(batch) > 1 else ids[0], first, split)
    expected = (length - first,) if len(batch) == 1 else (len(batch), length - first)
    if losses.shape != expected:
        raise TypeError(f"token_losses gave shape {tuple(losses.shape)}: expected {expected}")
    rows = tuple(losses.view(len(batch), -1))
    for each, row in zip(batch, rows, strict=True):
        if not row.isfinite().all():
            raise RopewalkError(
                f"a loss that is not finite within {length} tokens of document "
                f"{each.text.name!r}; expected finite numbers; try float32"
            )
    return rows
