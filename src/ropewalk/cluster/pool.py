"""Workers of a Ray cluster, and the jobs that go to them.

The library could restart a lost worker and repeat its call by itself (``max_restarts``,
``max_task_retries``), but it ties the call to that worker: where the nodes that are left have no
room for one more, the call waits for ever beside idle workers. So a lost worker's job goes back
to the queue here, and another worker starts when there is room.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.jobs import Job

SHARED = ("source", "setting")
"""Fields of a job that many jobs share: sent to the cluster once."""
PATIENCE = 300.0
"""Seconds that a run waits for a worker while none is at work."""
LOSSES = 3
"""Workers that one job may lose."""


@dataclass(slots=True, kw_only=True)
class Pool:
    """Workers that start, workers that are idle, and what the others are doing.

    ray    the library
    start  makes one more worker: an actor with ``ready()`` and ``measure(source, setting, rest)``
    count  of workers that are wanted
    """

    ray: Any
    start: Callable[[], Any]
    count: int
    starting: dict[Any, Any] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    running: dict[Any, tuple[Any, Job]] = field(default_factory=dict)
    returned: list[Job] = field(default_factory=list)
    losses: list[Job] = field(default_factory=list)
    failed: int = 0
    shared: list[tuple[Any, Any]] = field(default_factory=list)

    def results(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, tuple[Result, ...]]]:
        """Each job and its results, as they end. A job is taken when a worker is free.

        RopewalkError where the cluster gives no worker, or one job loses ``LOSSES`` of them; the
        error of a job is raised in its own type.
        """
        for _ in range(self.count):
            self._await(self.start())
        while self._handed_out(jobs):
            done = self._ended()
            if done in self.starting:
                self._joins(done)
            elif (found := self._found(done)) is not None:
                yield found

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        busy = [actor for actor, _ in self.running.values()]
        for actor in (*self.starting.values(), *self.idle, *busy):
            self.ray.kill(actor)

    def _handed_out(self, jobs: Iterator[Job]) -> bool:
        """Give idle workers jobs; whether anything is left to wait for."""
        while (self.idle or not self.running) and (job := self._next(jobs)) is not None:
            if not self.idle:  # nobody is there yet: keep it
                self.returned.append(job)
                return True
            actor = self.idle.pop()
            self.running[self._begun(actor, job)] = actor, job
        return bool(self.running)

    def _next(self, jobs: Iterator[Job]) -> Job | None:
        return self.returned.pop() if self.returned else next(jobs, None)

    def _await(self, actor: Any) -> None:
        self.starting[actor.ready.remote()] = actor

    def _ended(self) -> Any:
        """What ends next. While jobs run there is no limit: a cell takes what it takes."""
        patience = None if self.running else PATIENCE
        done, _ = self.ray.wait([*self.running, *self.starting], num_returns=1, timeout=patience)
        if not done:
            raise RopewalkError(
                f"the cluster gave no worker in {PATIENCE:.0f} s: finished cells are kept; give "
                "the same command again when it has a free CPU or GPU, or --executor serial"
            )
        return done[0]

    def _joins(self, done: Any) -> None:
        actor = self.starting.pop(done)
        try:
            self.ray.get(done)
        except self.ray.exceptions.RayError as error:
            self.failed += 1
            if self.failed > self.count + LOSSES:
                raise RopewalkError(
                    f"the cluster could not start a worker ({first_line(error)}): is this "
                    "version of ropewalk installed on its nodes? --executor serial needs no cluster"
                ) from error
            self._await(self.start())
        else:
            self.failed = 0
            self.idle.append(actor)

    def _found(self, done: Any) -> tuple[Job, tuple[Result, ...]] | None:
        """A job and its results; None where its worker was lost, and the job waits again."""
        actor, job = self.running.pop(done)
        try:
            found: tuple[Result, ...] = self.ray.get(done)
        except self.ray.exceptions.RayTaskError as error:
            self.idle.append(actor)
            raise error.cause from None
        except self.ray.exceptions.RayError as error:
            self._lost(actor, job, error)
            return None
        self.idle.append(actor)
        return job, found

    def _lost(self, actor: Any, job: Job, error: BaseException) -> None:
        self.ray.kill(actor)  # one that only cannot be reached would keep its CPU
        self.losses.append(job)
        if sum(each is job for each in self.losses) == LOSSES:
            raise RopewalkError(
                f"the cluster lost {LOSSES} workers over one cell ({first_line(error)}), as one "
                "too large for a node's memory does: finished cells are kept; give a shorter "
                "length, fewer workers, or --executor serial"
            ) from error
        self.returned.append(job)
        self._await(self.start())
        while self.idle:  # those of the same node are gone as well: each says whether it is there
            self._await(self.idle.pop())

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


def first_line(error: BaseException) -> str:
    """Of what an error of the library says: the rest are traces of its processes."""
    return next(iter(str(error).splitlines()), type(error).__name__)
