"""Jobs on the workers of a Ray cluster, one machine or many.

A worker is a Ray actor that keeps its model open and puts methods into it in turn. It returns
small results; who asked writes them, so that no machine needs a shared disk. Where a worker's
node is lost, its job goes to the next free worker (pool): a cell that runs twice is harmless.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ropewalk.cluster.pool import Pool, first_line
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.jobs import Job
from ropewalk.evaluation.progress import Progress, Silent
from ropewalk.evaluation.worker import Worker

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
            pool = self._pool(ray)
            try:
                for job, results in pool.results(iter(jobs)):
                    progress.advanced(job, job.cost)
                    yield results
            finally:
                pool.close()

    def _pool(self, ray: Any) -> Pool:
        total = ray.cluster_resources()
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 1))
        count = self.workers or gpus or cpus
        # A GPU holds one worker: a long cell shares its memory with no other.
        share = {"num_gpus": 1} if gpus else {"num_cpus": 1 if count <= cpus else cpus / count}
        actor = ray.remote(_Measurer).options(**share)
        return Pool(ray=ray, start=lambda: actor.remote(self.threads), count=count)


class _Measurer:
    """A worker, in a process of its own. The library wants a class with state."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._worker = Worker(Silent())

    def ready(self) -> None:
        """Answers when the process has begun."""

    def measure(self, source: Any, setting: Any, rest: dict[str, Any]) -> tuple[Result, ...]:
        return self._worker.measure(Job(source=source, setting=setting, **rest))


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
    try:
        import ray
    except ImportError as error:
        raise RopewalkError(
            "executor ray: Ray is not installed; install ropewalk[ray], or use --executor serial"
        ) from error
    return ray
