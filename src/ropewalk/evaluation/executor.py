"""Where jobs run. Jobs are independent and store their own results, so that an executor
only has to run each once, in any order, anywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ropewalk.evaluation.cells import Job, Result
from ropewalk.evaluation.progress import Progress

Work = Callable[[Job, Progress], tuple[Result, ...]]


class Executor(Protocol):
    """Runs jobs."""

    def run(
        self, jobs: Sequence[Job], work: Work, progress: Progress
    ) -> Iterator[tuple[Result, ...]]:
        """Yield the results of each job as it ends.

        An executor that runs ``work`` elsewhere hands it ``Silent()``; the results that it
        yields are reported by the caller.
        """
        ...


class SerialExecutor:
    """One job after the other, in this process."""

    def run(
        self, jobs: Sequence[Job], work: Work, progress: Progress
    ) -> Iterator[tuple[Result, ...]]:
        for job in jobs:
            yield work(job, progress)
