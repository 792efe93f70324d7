"""Jobs on the workers of a Ray cluster, one machine or many.

A worker is a Ray actor that keeps its model open and puts methods into it in turn. It returns
small results; who asked writes them, so that no machine needs a shared disk. A worker whose node
is lost starts again elsewhere and its job runs again: a cell's file makes that harmless.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.jobs import Job
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.worker import Worker

SHARED = ("source", "setting")
"""Fields of a job that many jobs share: sent to the cluster once."""
_LOCAL = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RayExecutor:
    """Runs jobs on as many workers at once, the longest first.

    address  of a running cluster, as ``ray.init`` takes it; None starts one on this machine, on
             127.0.0.1, which ends with the run
    workers  None for one a GPU of the cluster, or one a CPU where there is none
    threads  of torch in each worker; results are bit for bit those of a serial run with as many
    """

    address: str | None = None
    workers: int | None = None
    threads: int = 1

    def order(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The longest first: what is begun last then ends soon."""
        return sorted(jobs, key=lambda job: job.cost, reverse=True)

    def run(
        self, jobs: Iterable[Job], progress: Progress
    ) -> Generator[tuple[Result, ...], None, None]:
        """As ``Executor.run``. An error of a worker is raised here, in its own type."""
        ray = ray_library()
        with _connected(ray, self.address, self.workers):
            pool = _Pool(ray, self._actors(ray))
            try:
                for job, results in pool.results(iter(jobs)):
                    progress.advanced(job, job.cost)
                    yield results
            finally:
                pool.close()

    def _actors(self, ray: Any) -> list[Any]:
        total = ray.cluster_resources()
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 1))
        count = self.workers or gpus or cpus
        # A GPU holds one worker: a long cell shares its memory with no other.
        share = {"num_gpus": 1} if gpus else {"num_cpus": 1 if count <= cpus else cpus / count}
        # What a node that is lost was doing is done again on another.
        again = {"max_restarts": -1, "max_task_retries": -1}
        actor = ray.remote(_Measurer).options(**share, **again)
        return [actor.remote(self.threads) for _ in range(count)]


class _Measurer:
    """A worker, in a process of its own. The library wants a class with state."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._worker = Worker(Silent())

    def measure(self, source: Any, setting: Any, rest: dict[str, Any]) -> tuple[Result, ...]:
        return self._worker.measure(Job(source=source, setting=setting, **rest))


@dataclass(slots=True)
class _Pool:
    """Workers, those that are idle, and what the others are doing."""

    ray: Any
    actors: list[Any]
    shared: list[tuple[Any, Any]] = field(default_factory=list)

    def results(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, tuple[Result, ...]]]:
        """Each job and its results, as they end. A job is taken when a worker is free."""
        running: dict[Any, tuple[Any, Job]] = {}
        idle = list(self.actors)
        while True:
            while idle and (job := next(jobs, None)) is not None:
                actor = idle.pop()
                running[self._begun(actor, job)] = actor, job
            if not running:
                return
            (done, *_), _ = self.ray.wait(list(running), num_returns=1)
            actor, job = running.pop(done)
            idle.append(actor)
            yield job, self._result(done)

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for actor in self.actors:
            self.ray.kill(actor)

    def _begun(self, actor: Any, job: Job) -> Any:
        rest = {
            each.name: getattr(job, each.name) for each in fields(job) if each.name not in SHARED
        }
        return actor.measure.remote(self._sent(job.source), self._sent(job.setting), rest)

    def _sent(self, value: object) -> Any:
        """Its place in the cluster's memory; each value goes there once."""
        for known, place in self.shared:
            if known is value:
                return place
        place = self.ray.put(value)
        self.shared.append((value, place))
        return place

    def _result(self, done: Any) -> tuple[Result, ...]:
        try:
            found: tuple[Result, ...] = self.ray.get(done)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self.ray.exceptions.RayError as error:
            raise RopewalkError(
                f"the cluster lost a worker and could not start it again ({_first_line(error)}): "
                "finished cells are kept; give the same command again, or --executor serial"
            ) from error
        return found


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
        reason = _first_line(error)
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
    try:
        import ray
    except ImportError as error:
        raise RopewalkError(
            "executor ray: Ray is not installed; install ropewalk[ray], or use --executor serial"
        ) from error
    return ray


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
