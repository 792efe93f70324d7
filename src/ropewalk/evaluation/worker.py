"""A worker: jobs, one after the other, on a model that stays open."""

import time
from dataclasses import replace

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cells import Failure, Measurement, Result
from ropewalk.evaluation.jobs import Job, ModelSource, Session
from ropewalk.evaluation.memory import meter_of
from ropewalk.evaluation.progress import Progress


class Worker:
    """Measures jobs in this process. The model stays open, and its method in force, between jobs.

    A context manager; at its end the model is what it was.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._opened: tuple[ModelSource, Session] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def measure(self, job: Job) -> tuple[Result, ...]:
        """A result for each wanted length.

        A cell that cannot run (RopewalkError, or no memory left) is a ``Failure``; other exceptions
        are raised. Passes are those of all lengths of the job, wanted or not, so that a resumed
        job computes exactly what it would have computed in one go.
        """
        session = self._session(job.source)
        results: dict[int, Result] = {}
        left = job
        while left.wanted:
            for result in self._attempt(session, left):
                results[result.cell.length] = result
            wanted = tuple(length for length in job.wanted if length not in results)
            left = replace(left, lengths=left.lengths[:-1], wanted=wanted)
        return tuple(results[length] for length in job.wanted)

    def _session(self, source: ModelSource) -> Session:
        if self._opened is None or self._opened[0] != source:
            self.__exit__()
            self._opened = (source, source.open())
        return self._opened[1]

    def _attempt(self, session: Session, job: Job) -> tuple[Result, ...]:
        """All that is wanted; or the failure of the longest length, after which the rest may fit.

        Where memory runs out, half as many sequences at once are tried first.
        """
        try:
            return self._measured(session, job)
        except (RopewalkError, MemoryError, RuntimeError) as error:
            exhausted, reason = out_of_memory(error), reason_of(error)
            if not isinstance(error, RopewalkError) and not exhausted:
                raise
        # Outside of the handler: the exception holds on to what filled the memory.
        if exhausted and job.batch > 1:
            return self._attempt(session, replace(job, batch=job.batch // 2))
        longest = job.lengths[-1]
        failed = Failure(cell=job.cell(longest), reason=reason)
        return (failed,) if longest in job.wanted else ()

    def _measured(self, session: Session, job: Job) -> tuple[Result, ...]:
        task, longest = job.task, job.lengths[-1]
        model = session.use(job.method, longest, job.split)
        with meter_of(session.device).watch() as memory:
            started = time.perf_counter()
            units = task.units(
                model,
                job.lengths,
                job.split,
                batch=job.batch,
                advance=lambda cost: self._progress.advanced(job, cost),
            )
            seconds = time.perf_counter() - started
        return tuple(
            Measurement(
                cell=job.cell(length),
                task=task,
                units=units[length],
                seconds=seconds * length / sum(job.lengths),
                peak_memory_bytes=memory.peak_bytes if length == longest else None,
                threads=torch.get_num_threads(),
            )
            for length in job.wanted
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


def reason_of(error: BaseException) -> str:
    """Why a cell could not run, in one line."""
    first_line = next(iter(str(error).splitlines()), "")
    if isinstance(error, RopewalkError):
        return first_line
    return f"out of memory ({first_line})" if first_line else "out of memory"
