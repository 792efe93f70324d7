"""Jobs on the workers of a Ray cluster, one machine or many.

A worker is a Ray actor that keeps its model open and puts methods into it in turn. It returns
small results; who asked writes them, so that no machine needs a shared disk. Where a worker's
node is lost, its job goes to the next free worker (pool): a cell that runs twice is harmless.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

from ropewalk.cluster.placing import NO_DEMAND, Demand, Places, Room
from ropewalk.cluster.pool import Pool, first_line
from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra
from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.jobs import Job
from ropewalk.evaluation.memory import machine_memory
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.worker import Worker

_LOCAL = "127.0.0.1"
SHARED = ("source", "setting")
"""Fields of a job that many jobs share: sent to the cluster once."""
Task = TypeVar("Task")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class RayExecutor:
    """Runs jobs on as many workers at once, the longest first.

    address  of a running cluster, as ``ray.init`` takes it; None starts one on this machine, on
             127.0.0.1, which ends with the run
    workers  None for one a GPU of the cluster, or one a CPU where there is none
    threads  of torch in each worker; results are bit for bit those of a serial run with as many
    demand   memory of workers and jobs: no more begin on a machine than fit
    """

    address: str | None = None
    workers: int | None = None
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
        for job, results in self._worked(_measuring, sent.job, jobs, self.demand):
            progress.advanced(job, job.cost)
            yield results

    def each(
        self, begin: "Callable[[], Callable[[Task], Found]]", tasks: Iterable[Task]
    ) -> Generator[tuple[Task, Found], None, None]:
        """Each task and what comes of it, as they end.

        begin  makes what does the tasks, once in each worker; it and the tasks can be pickled
        """
        yield from self._worked(begin, lambda task: (task,), tasks, NO_DEMAND)

    def _worked(
        self,
        begin: Callable[[], Callable[..., Any]],
        sent: Callable[[Any], tuple[Any, ...]],
        tasks: Iterable[Any],
        demand: Demand,
    ) -> Generator[tuple[Any, Any], None, None]:
        """sent  what of a task a worker is told"""
        ray = ray_library()
        with _connected(ray, self.address, self.workers):
            pool = self._pool(ray, begin, sent, demand)
            try:
                yield from pool.results(iter(tasks))
            finally:
                pool.close()

    def _pool(
        self,
        ray: Any,
        begin: Callable[[], Callable[..., Any]],
        sent: Callable[[Any], tuple[Any, ...]],
        demand: Demand,
    ) -> Pool:
        total = ray.cluster_resources()
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 1))
        count = self.workers or gpus or cpus
        # A GPU holds one worker: a long cell shares its memory with no other.
        share = {"num_gpus": 1} if gpus else {"num_cpus": 1 if count <= cpus else cpus / count}
        actor = ray.remote(_Worker).options(**share)
        return Pool(
            ray=ray,
            start=lambda: actor.remote(begin, self.threads),
            call=lambda worker, task: worker.work.remote(*sent(task)),
            count=count,
            places=Places(demand=demand),
        )


class _Worker:
    """A worker, in a process of its own. The library wants a class with state."""

    def __init__(self, begin: Callable[[], Callable[..., Any]], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._begin = begin
        self._work: Callable[..., Any] | None = None

    def ready(self) -> Room:
        """Answers when the process has begun."""
        return room_here()

    def work(self, *task: Any) -> Any:
        if self._work is None:
            self._work = self._begin()
        return self._work(*task)


def room_here() -> Room:
    """The GPU of this worker, or its machine."""
    import ray
    import torch

    node = ray.get_runtime_context().get_node_id()
    if torch.cuda.is_available():
        return Room(
            place=f"{node} {torch.cuda.get_device_properties(0).uuid}",
            memory=torch.cuda.get_device_properties(0).total_memory,
        )
    return Room(place=node, memory=machine_memory())


def _measuring() -> Callable[..., tuple[Result, ...]]:
    """Measures jobs in this process, on a model that stays open."""
    return partial(_measured, Worker(Silent()))


def _measured(worker: Worker, source: Any, setting: Any, rest: dict[str, Any]) -> Any:
    return worker.measure(Job(source=source, setting=setting, **rest))


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
def _connected(ray: Any, address: str | None, workers: int | None) -> Iterator[None]:
    """A cluster for the length of a block: one that is connected already stays so."""
    if ray.is_initialized():
        yield
        return
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            # Without "local" it would join whatever cluster this machine ran last.
            ray.init(address="local", num_cpus=workers, _node_ip_address=_LOCAL, **quiet)
        else:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = first_line(error)
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
