"""compare and perplexity: methods against lengths, of a checkpoint or of a loaded model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ropewalk.api.checkpoints import ModelInMemory
from ropewalk.api.compared import CompareResult, beside, shows_retrieval, with_toy
from ropewalk.api.origin import document_origin
from ropewalk.api.preparing import Asked, Prepared, Words, opened, prepared, run_of
from ropewalk.evaluation.budget import Budget
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.differences import differences, to_best
from ropewalk.evaluation.documents import Document, Tokenizer
from ropewalk.evaluation.executor import Executor
from ropewalk.evaluation.measure import dry_run, measure
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.request import Line, Request
from ropewalk.evaluation.run import Run
from ropewalk.evaluation.runs import NoStore, RunFolder
from ropewalk.evaluation.tasks.made import write_samples
from ropewalk.evaluation.tasks.retrieval import TRIALS
from ropewalk.integrations.wrappers import measured
from ropewalk.reporting.files import write_csv, write_json
from ropewalk.reporting.plots import write_curves
from ropewalk.reporting.records import PLAIN, loss_records
from ropewalk.reporting.task_plots import write_tasks
from ropewalk.reporting.tasks import context_gains, effective_lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Where a run is measured, and who is told. ``begun``: of ``time.monotonic``, for budgets."""

    progress: Progress
    executor: Executor | None
    batch: int
    begun: float


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
    progress: Progress | None = None,
    executor: Executor | None = None,
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

    The others are flags of ``ropewalk compare --help``. What is missing is chosen from the model;
    methods and lengths of a model of yours so that they end within five minutes here, unless a
    budget is given (``chosen`` in the document).

    Raises RopewalkError for bad input, before anything is measured; a cell that cannot run
    stands in the result with its reason.
    """
    begun = time.monotonic()
    asked = Asked.of(
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
    )
    how = How(progress=progress or Silent(), executor=executor, batch=batch, begun=begun)
    result = _measured(asked, how)
    if shows_retrieval(asked):
        toy = _measured(beside(asked, result.run_dir), replace(how, batch=max(batch, trials)))
        result = with_toy(result, toy)
    return _written(result)


def plan_compare(
    source: str | Path | nn.Module | None = None, *, batch: int = 1, **words: Any
) -> CompareResult:
    """What ``compare`` would do: its cells, done or with estimated seconds. Writes nothing.

    batch, words  as ``compare`` takes them
    """
    asked = Asked.of(source, **words)
    planned = _planned(asked, batch)
    if not shows_retrieval(asked):
        return planned
    toy = beside(asked, planned.run_dir)
    return with_toy(planned, _planned(toy, max(batch, toy.materials.trials)))


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
    model = measured(model)
    request = Request(
        methods=methods,
        lengths=lengths,
        modes=modes,
        protocol=protocol,
        windows=windows,
        tail_tokens=tail_tokens,
        stride=stride,
    )
    begins = opened(protocol, tokenizer, bos)
    run = run_of(
        model,
        request,
        name=type(model).__name__,
        weights="not kept",
        documents=tuple(
            Document.given(f"document {number}", each, tokenizer, begins["opening"])
            for number, each in enumerate(documents, start=1)
        ),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        bos=begins["bos"],
    )
    results = measure(
        run.setting, run.series, ModelInMemory(model), NoStore(), progress=progress, batch=batch
    )
    return [result.record() for result in results]


def _measured(asked: Asked, how: How) -> CompareResult:
    """All cells of a comparison, kept in its run folder, and their samples."""
    ready = prepared(asked)
    run, run_dir = ready.run.in_parts(how.batch), ready.run_dir
    store = RunFolder.open(run_dir, run.setting)
    session: Any = ready.source.open()  # of integrations, which has the model
    document_origin(run_dir, session.model)
    if ready.choice is not None:
        ready.choice.keep(run_dir)
        how.progress.chosen(ready.choice)
    seconds = ready.budget(asked.budget)
    parts = measure(
        run.setting,
        run.series,
        ready.source,
        store,
        executor=how.executor,
        progress=how.progress,
        batch=how.batch,
        budget=None if seconds is None else Budget(seconds, how.begun, ready.timed()),
    )
    results = run.merged(parts)
    write_samples(ready.run.setting.others, results, run_dir)
    document = _document(ready, [result.record() for result in results])
    document["differences"] = differences(results, _baseline(run))
    document["to_best"] = to_best(results)
    return CompareResult(document=document, run_dir=run_dir)


def _planned(asked: Asked, batch: int) -> CompareResult:
    ready = prepared(asked)
    run, run_dir = ready.run.in_parts(batch), ready.run_dir
    exists = (run_dir / "run.json").is_file()
    store = RunFolder.open(run_dir, run.setting) if exists else NoStore()
    cells = dry_run(run.setting, run.series, ready.source, store, ready.timed())
    document = _document(ready, [cell.record() for cell in run.merged(cells)])
    return CompareResult(document=document, run_dir=run_dir)


def _document(ready: Prepared, records: list[Record]) -> dict[str, Any]:
    document = ready.run.document(records, ready.run_dir)
    if ready.choice is not None:
        document["chosen"] = ready.choice.record()
    return document


def _written(result: CompareResult) -> CompareResult:
    """What the cells come to together; tables and pictures in the run folder."""
    document = {
        **result.document,
        "effective_lengths": effective_lengths(result.document),
        "context_gains": context_gains(result.document),
    }
    write_json(document, result.run_dir)
    write_csv(document, result.run_dir)
    if any(record["status"] == "ok" for record in loss_records(document)):
        write_curves(document, result.run_dir)
    write_tasks(document, result.run_dir)
    return replace(result, document=document)


def _baseline(run: Run) -> str:
    """What differences compare with: plain RoPE, or else the first method."""
    texts = [each.method.text for each in run.series]
    return PLAIN if PLAIN in texts else texts[0]
