"""Measuring: series of cells through a model, into a store."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.bootstrap import UnitSum
from ropewalk.evaluation.cells import (
    Cell,
    CellMethod,
    Failed,
    Job,
    Measured,
    Planned,
    Result,
    Series,
    jobs,
)
from ropewalk.evaluation.cost import CostModel, pass_cost
from ropewalk.evaluation.executor import Executor, SerialExecutor
from ropewalk.evaluation.memory import MemoryMeter, ResidentMemory
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.runs import Store
from ropewalk.evaluation.sequences import Fed, batches, losses_of
from ropewalk.evaluation.setting import Setting

OpenModel = Callable[[CellMethod, int, Pass], AbstractContextManager[LanguageModel]]
"""The model with a method, at a length (of shared passes: the longest), for a pass."""


def measure(
    setting: Setting,
    series: Sequence[Series],
    open_model: OpenModel,
    store: Store,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    meter: MemoryMeter | None = None,
    batch: int = 1,
) -> tuple[Result, ...]:
    """Measure what the store does not hold yet; results in the order of ``series``.

    batch  sequences of equal length that go through the model at once; fewer where memory runs out

    A cell that cannot run (RopewalkError, or no memory left) becomes ``Failed``; any other
    exception, an interrupt among them, goes to the caller, and what is finished stays.
    Executor, progress and meter: serial, silent and resident memory if not given.
    """
    if batch < 1:
        raise RopewalkError(f"batch={batch}: expected at least 1 sequence at a time")
    progress = progress or Silent()
    work = _Work(setting, open_model, store, meter or ResidentMemory(), batch)
    results: dict[Cell, Result] = {}
    pending: list[Job] = []
    for job in _all_jobs(setting, series):
        found = work.stored(job)
        results.update(found)
        if len(found) < len(job.lengths):
            pending.append(job)
    for result in results.values():
        progress.finished(result)
    progress.planned(sum(work.cost(job) for job in pending))
    for done in (executor or SerialExecutor()).run(pending, work, progress):
        for result in done:
            if result.cell not in results:
                progress.finished(result)
            results[result.cell] = result
    return tuple(results[cell] for cell in _all_cells(setting, series))


def plan(
    setting: Setting, series: Sequence[Series], store: Store, cost_model: CostModel
) -> tuple[Result | Planned, ...]:
    """A dry run: what is stored, what cannot run, and the estimated seconds of the rest."""
    results: dict[Cell, Result | Planned] = {}
    for job in _all_jobs(setting, series):
        results.update(_refused(setting, job))
        runnable = tuple(n for n in job.lengths if job.cell(n) not in results)
        cost = sum(_costs(_sequences(setting, runnable), job.split))
        for length in runnable:
            seconds = cost_model.seconds(cost) * length / sum(runnable)
            planned = Planned(cell=job.cell(length), seconds=seconds)
            stored = store.load(setting.key(planned.cell), planned.cell)
            results[planned.cell] = stored or planned
    return tuple(results[cell] for cell in _all_cells(setting, series))


@dataclass(frozen=True, slots=True)
class _Work:
    """One job, from what is stored to what is stored: runs in any process."""

    setting: Setting
    open_model: OpenModel
    store: Store
    meter: MemoryMeter
    batch: int

    def __call__(self, job: Job, progress: Progress) -> tuple[Result, ...]:
        progress.started(job, self.cost(job))
        results: dict[Cell, Result] = {**_refused(self.setting, job)}
        for refused in tuple(results.values()):
            self._keep(refused)
        lengths = tuple(n for n in job.lengths if job.cell(n) not in results)
        results.update(self.stored(job))
        while wanted := tuple(n for n in lengths if job.cell(n) not in results):
            for result in self._attempt(replace(job, lengths=lengths), wanted, progress):
                self._keep(result)
                results[result.cell] = result
            lengths = lengths[:-1]
        return tuple(results[cell] for cell in job.cells)

    def stored(self, job: Job) -> dict[Cell, Result]:
        loaded = {cell: self.store.load(self.setting.key(cell), cell) for cell in job.cells}
        return {cell: result for cell, result in loaded.items() if result}

    def cost(self, job: Job) -> float:
        refused = _refused(self.setting, job)
        runnable = tuple(n for n in job.lengths if job.cell(n) not in refused)
        return sum(_costs(_sequences(self.setting, runnable), job.split))

    def _keep(self, result: Result) -> None:
        self.store.save(self.setting.key(result.cell), result)

    def _attempt(self, job: Job, wanted: tuple[int, ...], progress: Progress) -> tuple[Result, ...]:
        """All of ``wanted``; or the failure of the longest, after which the rest may fit.

        Where memory runs out, half as many sequences at once are tried first. Passes are those
        of all lengths of the job, finished or not, so that a resumed job computes exactly what
        it would have computed in one go.
        """
        try:
            return self._measure(job, wanted, progress)
        except (RopewalkError, MemoryError, RuntimeError) as error:
            exhausted, reason = out_of_memory(error), _reason(error)
            if not isinstance(error, RopewalkError) and not exhausted:
                raise
        # Outside of the handler: the exception holds on to what filled the memory.
        if exhausted and self.batch > 1:
            return replace(self, batch=self.batch // 2)._attempt(job, wanted, progress)
        longest = job.lengths[-1]
        failed = Failed(cell=job.cell(longest), reason=reason)
        return (failed,) if longest in wanted else ()

    def _measure(self, job: Job, wanted: tuple[int, ...], progress: Progress) -> tuple[Result, ...]:
        ledger = _Ledger()
        seconds = 0.0
        with (
            self.open_model(job.method, job.lengths[-1], job.split) as model,
            self.meter.watch() as memory,
        ):
            for batch in batches(_sequences(self.setting, job.lengths), self.batch):
                started = time.perf_counter()
                losses = losses_of(model, batch, job.split, job.method.text)
                for each, own in zip(batch, losses, strict=True):
                    ledger.add(each, own)
                seconds += time.perf_counter() - started
                progress.advanced(job, sum(_costs(batch, job.split)))
        return tuple(
            Measured(
                cell=job.cell(length),
                units=ledger.units(length),
                seconds=seconds * length / sum(job.lengths),
                peak_memory_bytes=memory.peak_bytes if length == job.lengths[-1] else None,
                average=self.setting.protocol.average,
            )
            for length in wanted
        )


class _Ledger:
    """Sums by length, document and window."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int, int], UnitSum] = {}

    def add(self, sequence: Fed, losses: Tensor) -> None:
        number, document, span = sequence.number, sequence.document, sequence.span
        for scored in span.scored:
            index = (scored.length, number, scored.window)
            empty = UnitSum(document=number, window=scored.window, nll=0.0, tokens=0, bytes=0)
            before = self._sums.get(index, empty)
            nll = losses[scored.first - span.first : scored.last - span.first].sum().item()
            count = document.bytes_between(span.place(scored.first), span.place(scored.last))
            self._sums[index] = replace(
                before,
                nll=before.nll + nll,
                tokens=before.tokens + scored.last - scored.first,
                bytes=before.bytes + count,
            )

    def units(self, length: int) -> tuple[UnitSum, ...]:
        return tuple(unit for index, unit in sorted(self._sums.items()) if index[0] == length)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


def _reason(error: BaseException) -> str:
    first_line = next(iter(str(error).splitlines()), "")
    if isinstance(error, RopewalkError):
        return first_line
    return f"out of memory ({first_line})" if first_line else "out of memory"


def _all_jobs(setting: Setting, series: Iterable[Series]) -> Iterator[Job]:
    for one in series:
        yield from jobs(one, setting.protocol)


def _all_cells(setting: Setting, series: Iterable[Series]) -> tuple[Cell, ...]:
    cells = (cell for job in _all_jobs(setting, series) for cell in job.cells)
    return tuple(dict.fromkeys(cells))


def _refused(setting: Setting, job: Job) -> dict[Cell, Result]:
    """Cells that the protocol cannot measure on these documents."""
    refused: dict[Cell, Result] = {}
    for cell in job.cells:
        try:
            for document in setting.texts:
                setting.protocol.check(cell.length, document)
        except RopewalkError as error:
            refused[cell] = Failed(cell=cell, reason=_reason(error))
    return refused


def _sequences(setting: Setting, lengths: tuple[int, ...]) -> Iterator[Fed]:
    for number, document in enumerate(setting.texts):
        for span in setting.protocol.spans(lengths, document) if lengths else ():
            yield Fed(number=number, document=document, span=span)


def _costs(sequences: Iterable[Fed], split: Pass) -> Iterator[float]:
    return (pass_cost(len(each.span), split) for each in sequences)
