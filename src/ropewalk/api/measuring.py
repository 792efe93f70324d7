"""compare and perplexity: methods against lengths, of a checkpoint or of a loaded model."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ropewalk.cluster.described import Cluster
from ropewalk.comparing.perplexity import losses
from ropewalk.comparing.request import CompareRequest, ServedWords
from ropewalk.comparing.result import CompareResult
from ropewalk.comparing.run import How, compared, planned
from ropewalk.core.several import Words
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.documents import Tokenizer
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.request import Line, Request
from ropewalk.evaluation.tasks.retrieval import TRIALS
from ropewalk.integrations.endpoints.server import SECONDS
from ropewalk.ranks.ranks import Ranks


def compare(  # noqa: PLR0913 (one parameter an option)
    source: str | Path | nn.Module | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    methods: str | Sequence[str] = (),
    lengths: int | str | Sequence[int | str] = (),
    modes: str | Sequence[str] = (),
    lines: Sequence[Line] = (),
    protocol: str = "tail",
    windows: int | None = None,
    tail_tokens: int | None = None,
    stride: int | None = None,
    tasks: str | Sequence[str] = (),
    texts: Words = (),
    trials: int = TRIALS,
    bos: str = "auto",
    questions: str | Path | None = None,
    evaluator: str | Path | None = None,
    dtype: str = "float32",
    device: str | None = None,
    batch: int = 1,
    budget: float | None = None,
    out: str | Path | None = None,
    served: str | None = None,
    engine: str | None = None,
    timeout: float = SECONDS,
    progress: Progress | None = None,
    executor: Executor | None = None,
    ranks: Ranks | None = None,
) -> CompareResult:
    """Methods against lengths, into a run folder: cells, tables and pictures.

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model,
              beside which a toy model shows what methods do to retrieval; or a loaded model, PEFT's
              too, with its ``tokenizer``
    lines     (``ropewalk.evaluation.request.Line``) instead of methods, lengths and modes: each
              method has its own lengths
    batch     sequences of equal length that go through the model at once
    budget    seconds, loading included: the cheapest cells come first, and those that do not fit
              stand in the result with that reason
    out       the run folder; an existing one is resumed
    served    URL of a running server of ``source``, which is asked instead: it computes the method
              that it was started with, and ``methods`` names that one
    ranks     processes that read each sequence together, as torchrun starts them

    The others are flags of ``ropewalk compare --help``. What is missing is chosen from the model;
    methods and lengths of a model of yours so that they end within five minutes here, unless a
    budget is given (``chosen`` in the document).

    Raises RopewalkError for bad input, before anything is measured; a cell that cannot run
    stands in the result with its reason.
    """
    begun = time.monotonic()
    asked = CompareRequest.of(
        source,
        tokenizer=tokenizer,
        methods=methods,
        lengths=lengths,
        modes=modes,
        lines=lines,
        protocol=protocol,
        windows=windows,
        tail_tokens=tail_tokens,
        stride=stride,
        tasks=tasks,
        texts=texts,
        trials=trials,
        bos=bos,
        questions=questions,
        evaluator=evaluator,
        dtype=dtype,
        device=device,
        budget=budget,
        out=out,
        served=ServedWords.of(served, engine, timeout),
    )
    how = How(progress=progress or Silent(), executor=executor, batch=batch, begun=begun)
    return compared(replace(asked, ranks=ranks), how)


def plan_compare(
    source: str | Path | nn.Module | None = None,
    *,
    batch: int = 1,
    served: str | None = None,
    engine: str | None = None,
    timeout: float = SECONDS,
    executor: Executor | None = None,
    cluster: str | Path | None = None,
    **words: Any,
) -> CompareResult:
    """What ``compare`` would do: its cells, done or with estimated seconds. Writes nothing.

    cluster  a file that describes one (``ropewalk.cluster.described``): the document then says, as
             ``cluster``, how long ``executor`` would take there
    batch, served, engine, timeout, executor, words  as ``compare`` takes them

    Raises RopewalkError as ``compare``, and for a cluster without an executor that has one.
    """
    asked = CompareRequest.of(source, served=ServedWords.of(served, engine, timeout), **words)
    described = None if cluster is None else Cluster.read(Path(cluster))
    return planned(asked, batch, executor, described)


def perplexity(  # noqa: PLR0913 (one parameter an option)
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
    bos: str = "auto",
    progress: Progress | None = None,
    batch: int = 1,
) -> list[Record]:
    """Loss of a transformers model against context length, without a run folder.

    documents  texts (needs ``tokenizer``), or token ids int64 ``[n]`` (no bits per byte)
    bos        auto (as the tokenizer does; nothing without one), always or never
    batch      sequences of equal length that go through the model at once

    Returns one record a cell, as in ``compare``. Raises RopewalkError for bad input.
    """
    request = Request(
        methods=methods,
        lengths=lengths,
        modes=modes,
        protocol=protocol,
        windows=windows,
        tail_tokens=tail_tokens,
        stride=stride,
    )
    return losses(model, request, documents, tokenizer, bos=bos, progress=progress, batch=batch)
