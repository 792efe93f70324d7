"""perplexity: methods against lengths on a model that is loaded already."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ropewalk.api.comparison import comparison_of
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.documents import Document, Tokenizer
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.runs import Unsaved


def perplexity(
    model: nn.Module,
    documents: Sequence[str | Tensor],
    lengths: Sequence[int],
    *,
    methods: Sequence[str] = ("native",),
    protocol: str = "tail",
    modes: Sequence[str] = ("full",),
    tokenizer: Tokenizer | None = None,
    windows: int | None = None,
    tail_tokens: int | None = None,
    stride: int | None = None,
    progress: Progress | None = None,
    batch: int = 1,
) -> list[Record]:
    """Loss of a transformers model against context length, without a run folder.

    documents  texts (needs ``tokenizer``), or token ids int64 ``[n]`` (no bits per byte)
    batch      sequences of equal length that go through the model at once

    Returns one record a cell, as in ``compare``. Raises RopewalkError for bad input.
    """
    texts = tuple(_document(number, each, tokenizer) for number, each in enumerate(documents))
    comparison = comparison_of(
        model,
        name=type(model).__name__,
        weights="not kept",
        documents=texts,
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        methods=methods,
        lengths=lengths,
        modes=modes,
        protocol=protocol,
        windows=windows,
        tail_tokens=tail_tokens,
        stride=stride,
    )
    results = comparison.measured(Unsaved(), progress=progress, batch=batch)
    return [result.record() for result in results]


def _document(number: int, content: str | Tensor, tokenizer: Tokenizer | None) -> Document:
    name = f"document {number + 1}"
    if isinstance(content, Tensor):
        return Document(name=name, ids=content, byte_lengths=torch.zeros_like(content))
    if tokenizer is None:
        raise RopewalkError(f"{name} is text: expected token ids, or a tokenizer beside it")
    return Document.encode(name, content, tokenizer)
