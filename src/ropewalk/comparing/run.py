"""A comparison measured, or planned: its cells kept in the run folder, tables and pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from ropewalk.cluster.described import Cluster
from ropewalk.cluster.simulation import scheduled
from ropewalk.comparing.demands import placed
from ropewalk.comparing.request import CompareRequest
from ropewalk.comparing.result import CompareResult
from ropewalk.comparing.served import set_up_served
from ropewalk.comparing.setup import Setup, set_up
from ropewalk.comparing.toy import beside, shows_retrieval, with_toy
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.budget import Budget
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.differences import differences, to_best
from ropewalk.evaluation.executor import Executor, SerialExecutor, ranks_of
from ropewalk.evaluation.jobs import Job
from ropewalk.evaluation.measure import dry_run, measure, pending
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.run import Run
from ropewalk.evaluation.runs import NoStore, RunFolder
from ropewalk.evaluation.tasks.made import write_samples
from ropewalk.integrations.ranked.leading import RankedSource
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


def compared(asked: CompareRequest, how: How) -> CompareResult:
    """All cells, tables and pictures of a comparison.

    Raises RopewalkError for bad input, and for ranks beside an executor with workers of its own.
    """
    if asked.ranks is not None and not isinstance(how.executor, SerialExecutor | None):
        raise RopewalkError(
            f"an executor beside {asked.ranks.size} ranks, which read each sequence together: "
            "expected one of the two"
        )
    _require_places(asked, how.executor)
    result = _measured(asked, how)
    if shows_retrieval(asked):
        batch = max(how.batch, asked.materials.trials)
        toy = _measured(beside(asked, result.run_dir), replace(how, batch=batch))
        result = with_toy(result, toy)
    return _written(result)


def _require_places(asked: CompareRequest, executor: Executor | None) -> None:
    """RopewalkError for a model that ranks of a worker cannot open themselves."""
    if ranks_of(executor) == 1:
        return
    if asked.served is not None:
        raise RopewalkError("a server beside ranks: expected one of the two; drop --ranks")
    if isinstance(asked.place, nn.Module):
        raise RopewalkError(
            "a loaded model over ranks: expected the place of a checkpoint, which every rank can "
            "open"
        )


def planned(
    asked: CompareRequest, batch: int, executor: Executor | None, cluster: Cluster | None
) -> CompareResult:
    """The cells of a comparison, done or with estimated seconds. Writes nothing.

    cluster  a described one, on which ``executor`` would run: the document says how long

    Raises RopewalkError as ``compared``, and for a cluster without an executor that has one.
    """
    if cluster is None:
        plan = _planned(asked, batch)
        if not shows_retrieval(asked):
            return plan
        toy = beside(asked, plan.run_dir)
        return with_toy(plan, _planned(toy, max(batch, toy.materials.trials)))
    if executor is None or isinstance(executor, SerialExecutor):
        raise RopewalkError("a cluster: the serial executor has none; add --executor ray")
    if ranks_of(executor) > 1:
        raise RopewalkError(
            f"{ranks_of(executor)} ranks on a described cluster: expected workers of one process; "
            "describe each group as one worker, by its speed and memory together"
        )
    return _planned(asked, batch, partial(_scheduled, executor, cluster))


def _ready(asked: CompareRequest) -> Setup:
    return set_up(asked) if asked.served is None else set_up_served(asked, asked.served)


def _measured(asked: CompareRequest, how: How) -> CompareResult:
    """All cells of one model, kept in its run folder, and their samples."""
    ready = _ready(asked)
    run, run_dir = ready.run.in_parts(how.batch), ready.run_dir
    store = RunFolder.open(run_dir, run.setting)
    ready.sign(run_dir)
    if ready.choice is not None:
        ready.choice.keep(run_dir)
        how.progress.chosen(ready.choice)
    seconds = ready.budget(asked.budget)
    parts = measure(
        run.setting,
        run.series,
        ready.source,
        store,
        executor=placed(how.executor, ready.demand),
        progress=how.progress,
        batch=how.batch,
        budget=None if seconds is None else Budget(seconds, how.begun, ready.timed()),
    )
    results = run.merged(parts)
    write_samples(ready.run.setting.others, results, run_dir)
    document = _document(ready, [result.record() for result in results])
    if (size := ranks_of(how.executor)) > 1:
        document["ranks"] = size
    document["differences"] = differences(results, _baseline(run))
    document["to_best"] = to_best(results)
    return CompareResult(document=document, run_dir=run_dir)


Schedules = Callable[[Setup, list[Job], CostModel], dict[str, Any]]


def _planned(
    asked: CompareRequest, batch: int, schedules: Schedules | None = None
) -> CompareResult:
    ready = _ready(asked)
    run, run_dir = ready.run.in_parts(batch), ready.run_dir
    exists = (run_dir / "run.json").is_file()
    store = RunFolder.open(run_dir, run.setting) if exists else NoStore()
    cost = ready.timed()
    cells = dry_run(run.setting, run.series, ready.source, store, cost)
    document = _document(ready, [cell.record() for cell in run.merged(cells)])
    if schedules is not None:
        jobs = pending(run.setting, run.series, ready.source, store, batch)
        document["cluster"] = schedules(ready, jobs, cost)
    return CompareResult(document=document, run_dir=run_dir)


def _scheduled(
    executor: Executor, cluster: Cluster, ready: Setup, jobs: list[Job], cost: CostModel
) -> dict[str, Any]:
    """What the executor would take for the jobs on a described cluster."""
    ordered = executor.order(jobs)
    return scheduled(ordered, lambda job: cost.seconds(job.cost), ready.demand, cluster).record()


def _document(ready: Setup, records: list[Record]) -> dict[str, Any]:
    document = ready.run.document(records, ready.run_dir)
    if isinstance(ready.source, RankedSource):
        document["ranks"] = ready.source.ranks.size
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
