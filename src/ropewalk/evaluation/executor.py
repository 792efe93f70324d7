"""Where jobs run. Jobs are independent plain data: each may run once or several times, anywhere."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.jobs import Job
from ropewalk.evaluation.progress import Progress
from ropewalk.evaluation.worker import Worker
from ropewalk.ranks.ranks import Ranks

Task = TypeVar("Task")
Found = TypeVar("Found")
Begin: TypeAlias = Callable[[Ranks | None], Callable[..., Any]]
"""Makes what does the tasks of a worker, whose ranks it is given; None for one process."""


class Executor(Protocol):
    """Runs jobs. What they give is small; who asked keeps it.

    One whose workers are several processes tells their number as ``ranks``.
    """

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

    def each(
        self, begin: Callable[[Ranks | None], Callable[[Task], Found]], tasks: Iterable[Task]
    ) -> Generator[tuple[Task, Found], None, None]:
        """Yield each task and what comes of it, in any order; close ends the work.

        begin  makes what does the tasks, once in each worker, of the ranks that it leads (None for
               a process alone); it and the tasks can be pickled
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

    def each(
        self, begin: Callable[[Ranks | None], Callable[[Task], Found]], tasks: Iterable[Task]
    ) -> Generator[tuple[Task, Found], None, None]:
        work = begin(None)
        for task in tasks:
            yield task, work(task)


def ranks_of(executor: Executor | None) -> int:
    """Processes that read each sequence together in a worker."""
    return int(getattr(executor, "ranks", 1))
