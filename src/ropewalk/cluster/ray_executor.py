"""Jobs on the workers of a Ray cluster, one machine or many.

A worker is a Ray actor that keeps its model open and puts methods into it in turn, or a group of
them that read each sequence together. It returns small results; who asked writes them, so that no
machine needs a shared disk. Where a worker's node is lost, its job goes to the next free worker
(pool): a cell that runs twice is harmless.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

from ropewalk.cluster.groups import LOOPBACK, RankGroup
from ropewalk.cluster.placing import NO_DEMAND, Demand, Places
from ropewalk.cluster.pool import Pool, reason_of
from ropewalk.cluster.workers import OneProcess, PoolWorker
from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra
from ropewalk.evaluation.cells import Failure, Result
from ropewalk.evaluation.executor import Begin
from ropewalk.evaluation.jobs import Job
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.worker import Worker
from ropewalk.integrations.ranked.leading import RankedSource
from ropewalk.ranks.failing import RankFailed
from ropewalk.ranks.ranks import Ranks

SHARED = ("source", "setting")
"""Fields of a job that many jobs share: sent to the cluster once."""
REGISTERING = {"worker_register_timeout_seconds": 600}
"""Of a cluster on this machine. A worker loads torch before it answers, which on busy cores takes
longer than the library's own minute; it would be ended and started again without an end."""
Task = TypeVar("Task")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class RayExecutor:
    """Runs jobs on as many workers at once, the longest first.

    address  of a running cluster, as ``ray.init`` takes it; None starts one on this machine, on
             127.0.0.1, which ends with the run
    workers  None for as many as the cluster has GPUs for, or CPUs where there is none
    ranks    processes of each worker, which read each sequence together, a GPU or a CPU each
    threads  of torch in each process; results are bit for bit those of a serial run with as many
    demand   memory of workers and jobs: no more begin on a machine than fit
    """

    address: str | None = None
    workers: int | None = None
    ranks: int = 1
    threads: int = 1
    demand: Demand = NO_DEMAND

    def demanding(self, demand: Demand) -> "RayExecutor":
        """The same, which knows what its jobs take."""
        return replace(self, demand=demand)

    def order(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The longest first: what is begun last then ends soon."""
        return sorted(jobs, key=lambda job: job.cost, reverse=True)

    def run(
        self, jobs: Iterable[Job], progress: Progress
    ) -> Generator[tuple[Result, ...], None, None]:
        """As ``Executor.run``. An error of a worker is raised here, in its own type."""
        sent = _Sent(ray_library())
        for job, results in self._worked(_measuring, sent.job, jobs, _without, self.demand):
            progress.advanced(job, job.cost)
            yield results

    def each(
        self, begin: Callable[[Ranks | None], Callable[[Task], Found]], tasks: Iterable[Task]
    ) -> Generator[tuple[Task, Found], None, None]:
        """As ``Executor.each``, as tasks end. RopewalkError where a rank cannot go on."""
        yield from self._worked(begin, lambda task: (task,), tasks, _refused, NO_DEMAND)

    def _worked(
        self,
        begin: Begin,
        sent: Callable[[Any], tuple[Any, ...]],
        tasks: Iterable[Any],
        without: Callable[[Any, RankFailed], tuple[Any, Any | None]],
        demand: Demand,
    ) -> Generator[tuple[Any, Any], None, None]:
        """sent, without  as a pool has them"""
        ray = ray_library()
        processes = None if self.workers is None else self.workers * self.ranks
        with _connected(ray, self.address, processes):
            pool = self._pool(ray, begin, sent, without, demand)
            try:
                yield from pool.results(iter(tasks))
            finally:
                pool.close()

    def _pool(
        self,
        ray: Any,
        begin: Begin,
        sent: Callable[[Any], tuple[Any, ...]],
        without: Callable[[Any, RankFailed], tuple[Any, Any | None]],
        demand: Demand,
    ) -> Pool:
        """On the cluster that is connected."""
        count, share = self._shares(ray.cluster_resources())
        return Pool(
            ray=ray,
            start=lambda: self._worker(ray, share, begin),
            sent=sent,
            without=without,
            count=count,
            places=Places(demand=demand),
        )

    def _worker(self, ray: Any, share: dict[str, float], begin: Begin) -> PoolWorker:
        if self.ranks == 1:
            return OneProcess(ray, share, begin, self.threads)
        return RankGroup(ray, share, begin, self.threads, self.ranks)

    def _shares(self, total: Mapping[str, float]) -> tuple[int, dict[str, float]]:
        """How many workers, and what each of their processes takes of a cluster.

        A GPU holds one process: a long cell shares its memory with no other.

        Raises RopewalkError where the cluster has fewer GPUs, or CPUs, than one worker takes.
        """
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 1))
        count = self.workers or (gpus or cpus) // self.ranks
        processes = count * self.ranks
        if count == 0 or 0 < gpus < self.ranks:
            has = f"{gpus} GPUs" if gpus else f"{cpus} CPUs"
            raise RopewalkError(
                f"{self.ranks} ranks on a cluster that has {has}: expected one each; give fewer "
                "ranks" + ("" if gpus else ", or --workers 1 to share CPUs")
            )
        if gpus:
            return count, {"num_gpus": 1}
        return count, {"num_cpus": 1 if processes <= cpus else cpus / processes}


def _measuring(ranks: Ranks | None) -> Callable[..., tuple[Result, ...]]:
    """Measures jobs in this process, on a model that stays open, or that ranks have open."""
    return partial(_measured, ranks, Worker(Silent()))


def _measured(
    ranks: Ranks | None, worker: Worker, source: Any, setting: Any, rest: dict[str, Any]
) -> Any:
    if ranks is not None:
        source = RankedSource(source=source, ranks=ranks)
    return worker.measure(Job(source=source, setting=setting, **rest))


def _without(job: Job, error: RankFailed) -> tuple[tuple[Result, ...], Job | None]:
    """The longest cell has failed, as where memory runs out; the others may fit."""
    *others, longest = job.lengths
    failed = Failure(cell=job.cell(longest), reason=str(error))
    wanted = tuple(length for length in job.wanted if length != longest)
    rest = replace(job, lengths=tuple(others), wanted=wanted) if wanted else None
    return ((failed,) if longest in job.wanted else ()), rest


def _refused(task: Any, error: RankFailed) -> tuple[Any, Any]:
    raise RopewalkError(str(error)) from error


class _Sent:
    """Jobs as workers are told of them; what many share goes to the cluster once."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._shared: list[tuple[Any, Any]] = []

    def job(self, job: Job) -> tuple[Any, ...]:
        names = [each.name for each in fields(job)]
        rest = {name: getattr(job, name) for name in names if name not in SHARED}
        return (*(self._place(getattr(job, name)) for name in SHARED), rest)

    def _place(self, value: object) -> Any:
        """Of a value in the cluster's memory."""
        for known, place in self._shared:
            if known is value:
                return place
        place = self._ray.put(value)
        self._shared.append((value, place))
        return place


@contextmanager
def _connected(ray: Any, address: str | None, processes: int | None) -> Iterator[None]:
    """A cluster for the length of a block: one that is connected already stays so."""
    if ray.is_initialized():
        yield
        return
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            # Without "local" it would join whatever cluster this machine ran last.
            here = {"_node_ip_address": LOOPBACK, "_system_config": REGISTERING}
            ray.init(address="local", num_cpus=processes, **here, **quiet)
        else:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # the library raises a bare one where a node does not start in time
        reason = reason_of(error)
        if address is None:
            raise RopewalkError(
                f"executor ray: no cluster could be started on this machine ({reason}); "
                "use --executor serial"
            ) from error
        raise RopewalkError(
            f"executor ray:{address}: no Ray cluster answers there ({reason}); expected the "
            "address that `ray start --head` prints, or `ray` alone for this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def ray_library() -> Any:
    """Ray; RopewalkError that names the extra where it is not installed."""
    require_extra("ray", "ray", purpose="executor ray")
    import ray

    return ray
