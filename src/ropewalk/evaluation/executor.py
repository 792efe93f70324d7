"""Where jobs run. Jobs are independent plain data: each may run once or several times, anywhere."""

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.jobs import Job
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.worker import Worker


class Executor(Protocol):
    """Runs jobs. What they give is small; who asked keeps it."""

    def order(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """In which order it would take them."""
        ...

    def run(
        self, jobs: Iterable[Job], progress: Progress
    ) -> Generator[tuple[Result, ...], None, None]:
        """Yield the results of each job as it ends, in any order; close ends the run.

        jobs      taken one by one, each when it can begin: what another run has finished by then
                  is not among them
        progress  told of the passes of workers in this process; of others, nothing
        """
        ...


class SerialExecutor:
    """One job after the other, in this process."""

    def order(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """As they were asked for."""
        return jobs

    def run(
        self, jobs: Iterable[Job], progress: Progress
    ) -> Generator[tuple[Result, ...], None, None]:
        with Worker(progress) as worker:
            for job in jobs:
                yield worker.measure(job)
