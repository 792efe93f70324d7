"""Sequences: spans of documents as they go through a model, several at once where that fits."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.protocol import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """A span of document ``number``: one sequence for the model."""

    number: int
    document: Document
    span: Span

    @property
    def ids(self) -> Tensor:
        """int64 ``[n]``."""
        own = self.document.ids[self.span.start : self.span.stop]
        return torch.cat([own.new_tensor(self.span.opening), own]) if self.span.opening else own


Batch = tuple[Fed, ...]
"""Sequences of one length, scored from one index on."""


def batches(sequences: Iterable[Fed], size: int) -> Iterator[Batch]:
    """Consecutive sequences that fit together, at most ``size`` at once."""
    batch: list[Fed] = []
    for each in sequences:
        if batch and (len(batch) == size or _shape(batch[0]) != _shape(each)):
            yield tuple(batch)
            batch = []
        batch.append(each)
    if batch:
        yield tuple(batch)


def losses_of(model: LanguageModel, batch: Batch, split: Pass, method: str) -> Sequence[Tensor]:
    """Losses ``[n - first]`` of each sequence.

    method  as typed, for messages

    Raises RopewalkError for a loss that is not finite.
    """
    length, first = _shape(batch[0])
    ids = torch.stack([each.ids for each in batch])
    losses = model.token_losses(ids if len(batch) > 1 else ids[0], first, split)
    expected = (length - first,) if len(batch) == 1 else (len(batch), length - first)
    if losses.shape != expected:
        raise TypeError(f"token_losses gave shape {tuple(losses.shape)}: expected {expected}")
    rows = tuple(losses.view(len(batch), -1))
    for each, row in zip(batch, rows, strict=True):
        if not row.isfinite().all():
            raise RopewalkError(
                f"{method} gave a loss that is not finite within {length} tokens of "
                f"document {each.document.name!r}; expected finite numbers; try float32"
            )
    return rows


def _shape(sequence: Fed) -> tuple[int, int]:
    return len(sequence.span), sequence.span.first
