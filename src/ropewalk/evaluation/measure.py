"""Measuring: series of cells through a model, into a store."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.budget import Budget
from ropewalk.evaluation.cells import (
    Cell,
    Estimate,
    Failure,
    Measurement,
    Result,
    Series,
    Skip,
)
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.executor import Executor, SerialExecutor
from ropewalk.evaluation.jobs import Job, ModelSource, jobs_of
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.runs import Store
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.worker import reason_of


def measure(
    setting: Setting,
    series: Sequence[Series],
    source: ModelSource,
    store: Store,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    batch: int = 1,
    budget: Budget | None = None,
) -> tuple[Result | Skip, ...]:
    """Measure what the store does not hold yet; results in the order of ``series``.

    batch   sequences of equal length that go through the model at once; fewer where memory runs out
    budget  with one, the cheapest cells come first; ``Skip`` stands for one that does not fit

    A cell that cannot run (RopewalkError, or no memory left) becomes a ``Failure``; any other
    exception, an interrupt among them, goes to the caller, and what is finished stays.
    Executor and progress: serial and silent if not given.
    """
    if batch < 1:
        raise RopewalkError(f"batch={batch}: expected at least 1 sequence at a time")
    jobs = tuple(jobs_of(series, source=source, setting=setting, batch=batch))
    run = _Run(store, progress or Silent(), budget)
    for job in jobs:
        run.refuse(job)
    executor = executor or SerialExecutor()
    pending = executor.order([left for job in jobs if (left := run.left(job)).wanted])
    run.progress.planned(sum(job.cost for job in pending))
    with closing(executor.run(run.begun(pending), run.progress)) as done:
        for results in done:
            run.keep(setting, results)
    return tuple(run.results[cell] for cell in _cells(jobs))


def dry_run(
    setting: Setting,
    series: Sequence[Series],
    source: ModelSource,
    store: Store,
    cost_model: CostModel,
) -> tuple[Result | Estimate, ...]:
    """What is stored, what cannot run, and the estimated seconds of the rest; writes nothing."""
    results: dict[Cell, Result | Estimate] = {}
    jobs = tuple(jobs_of(series, source=source, setting=setting, batch=1))
    for job in jobs:
        refused = _refused(job)
        results.update(refused)
        lengths = tuple(n for n in job.lengths if job.cell(n) not in refused)
        seconds = cost_model.seconds(replace(job, lengths=lengths).cost)
        for length in lengths:
            planned = Estimate(cell=job.cell(length), seconds=seconds * length / sum(lengths))
            results[planned.cell] = store.load(setting, planned.cell) or planned
    return tuple(results[cell] for cell in _cells(jobs))


def pending(
    setting: Setting, series: Sequence[Series], source: ModelSource, store: Store, batch: int
) -> list[Job]:
    """What ``measure`` would have an executor do: the jobs, of what the store does not hold."""
    jobs = tuple(jobs_of(series, source=source, setting=setting, batch=batch))
    run = _Run(NoWriting(store), Silent(), None)
    for job in jobs:
        run.refuse(job)
    return [left for job in jobs if (left := run.left(job)).wanted]


@dataclass(frozen=True, slots=True)
class NoWriting(Store):
    """What a store holds, and nothing more."""

    held: Store

    def load(self, setting: Setting, cell: Cell) -> Measurement | None:
        return self.held.load(setting, cell)

    def save(self, setting: Setting, result: Result) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Run:
    """A measurement while it goes on."""

    store: Store
    progress: Progress
    budget: Budget | None
    results: dict[Cell, Result | Skip] = field(default_factory=dict)

    def refuse(self, job: Job) -> None:
        """Keep the cells that the task cannot measure as failed."""
        self.keep(job.setting, tuple(_refused(job).values()))

    def left(self, job: Job) -> Job:
        """The job without refused lengths, of which what no run has finished is wanted."""
        lengths = tuple(n for n in job.lengths if not isinstance(self._at(job, n), Failure))
        for length in lengths:
            if self._at(job, length) is None:
                found = self.store.load(job.setting, job.cell(length))
                if found is not None:
                    self._note(found)
        wanted = tuple(n for n in lengths if self._at(job, n) is None)
        return replace(job, lengths=lengths, wanted=wanted)

    def begun(self, pending: Sequence[Job]) -> Iterator[Job]:
        """What is left of the jobs, each when it is to begin, as far as the budget goes."""
        jobs = pending if self.budget is None else sorted(pending, key=lambda job: job.cost)
        for job in jobs:
            fitting = job if self.budget is None else self._fitting(job, self.budget)
            if fitting.wanted:
                self.progress.started(fitting, fitting.cost)
                left = self.left(fitting)
                if left.wanted:
                    yield left

    def _fitting(self, job: Job, budget: Budget) -> Job:
        """The job without the longest lengths, whose passes would end too late."""
        lengths = job.lengths
        while lengths and not budget.fits(replace(job, lengths=lengths)):
            lengths = lengths[:-1]
        for length in job.wanted:
            if length not in lengths:
                skipped = budget.skipped(job, length)
                self.results[skipped.cell] = skipped
        return replace(job, lengths=lengths, wanted=tuple(n for n in job.wanted if n in lengths))

    def keep(self, setting: Setting, results: Sequence[Result]) -> None:
        """Store new results of one job."""
        if self.budget is not None:
            self.budget.note(results)
        for result in results:
            self.store.save(setting, result)
            self._note(result)

    def _note(self, result: Result) -> None:
        if result.cell not in self.results:
            self.progress.finished(result)
        self.results[result.cell] = result

    def _at(self, job: Job, length: int) -> Result | Skip | None:
        return self.results.get(job.cell(length))


def _cells(jobs: Sequence[Job]) -> Iterator[Cell]:
    return iter(dict.fromkeys(job.cell(length) for job in jobs for length in job.lengths))


def _refused(job: Job) -> dict[Cell, Failure]:
    """Cells that the task cannot measure."""
    refused: dict[Cell, Failure] = {}
    for length in job.lengths:
        try:
            job.task.check(length)
        except RopewalkError as error:
            failed = Failure(cell=job.cell(length), reason=reason_of(error))
            refused[failed.cell] = failed
    return refused
