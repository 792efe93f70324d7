"""Workers of a Ray cluster, and the jobs that go to them.

The library could restart a lost worker and repeat its call by itself (``max_restarts``,
``max_task_retries``), but it ties the call to that worker: where the nodes that are left have no
room for one more, the call waits for ever beside idle workers. So a lost worker's job goes back
to the queue here, and another worker starts when there is room.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ropewalk.cluster.placing import NO_DEMAND, Places
from ropewalk.core.errors import RopewalkError

PATIENCE = 300.0
"""Seconds that a run waits for a worker while none is at work."""
LOSSES = 3
"""Workers that one job may lose."""


@dataclass(slots=True, kw_only=True)
class Pool:
    """Workers that start, workers that are idle, and what the others are doing.

    ray     the library
    start   makes one more worker: an actor with ``ready()``, which tells its ``Room``
    call    has a worker do a job
    count   of workers that are wanted
    places  where they are, and what fits there
    """

    ray: Any
    start: Callable[[], Any]
    call: Callable[[Any, Any], Any]
    count: int
    places: Places = field(default_factory=lambda: Places(demand=NO_DEMAND))
    awaited: bool = True
    starting: dict[Any, Any] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    running: dict[Any, tuple[Any, Any]] = field(default_factory=dict)
    returned: list[Any] = field(default_factory=list)
    losses: list[Any] = field(default_factory=list)
    failed: int = 0

    def results(self, jobs: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Each job and its results, as they end. A job is taken when a worker is free.

        RopewalkError where the cluster gives no worker, or one job loses ``LOSSES`` of them; the
        error of a job is raised in its own type.
        """
        for _ in range(self.count):
            self._await(self.start())
        while self._handed_out(jobs):
            done = self._ended()
            if done is None:
                self.awaited = False
            elif done in self.starting:
                self._joins(done)
            elif (found := self._found(done)) is not None:
                yield found

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        busy = [actor for actor, _ in self.running.values()]
        for actor in (*self.starting.values(), *self.idle, *busy):
            self.ray.kill(actor)

    def _handed_out(self, jobs: Iterator[Any]) -> bool:
        """Give idle workers jobs; whether anything is left to wait for.

        A job for which there is no memory now waits, and a few behind it are tried.
        """
        self.places.coming = len(self.starting) if self.awaited else 0
        waiting: list[Any] = []
        while (self.idle or not self.running) and len(waiting) <= self.count:
            if (job := self._next(jobs)) is None:
                break
            actor = self.places.take(job, self.idle)
            if actor is None:
                waiting.append(job)
                if not self.idle:  # nobody is there yet: keep it
                    break
                continue
            self.idle.remove(actor)
            self.running[self.call(actor, job)] = actor, job
        self.returned += reversed(waiting)
        return bool(self.running or self.returned)

    def _next(self, jobs: Iterator[Any]) -> Any | None:
        return self.returned.pop() if self.returned else next(jobs, None)

    def _await(self, actor: Any) -> None:
        self.starting[actor.ready.remote()] = actor

    def _ended(self) -> Any:
        """What ends next. While jobs run there is no limit: a cell takes what it takes.

        None where idle workers waited in vain for one with more memory.
        """
        patience = None if self.running else PATIENCE
        done, _ = self.ray.wait([*self.running, *self.starting], num_returns=1, timeout=patience)
        if not done and self.idle:
            return None
        if not done:
            raise RopewalkError(
                f"the cluster gave no worker in {PATIENCE:.0f} s: finished cells are kept; give "
                "the same command again when it has a free CPU or GPU, or --executor serial"
            )
        return done[0]

    def _joins(self, done: Any) -> None:
        actor = self.starting.pop(done)
        try:
            room = self.ray.get(done)
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
            self.places.join(actor, room)
            self.idle.append(actor)

    def _found(self, done: Any) -> tuple[Any, Any] | None:
        """A job and its results; None where its worker was lost, and the job waits again."""
        actor, job = self.running.pop(done)
        self.places.end(actor)
        try:
            found = self.ray.get(done)
        except self.ray.exceptions.RayTaskError as error:
            self.idle.append(actor)
            raise error.cause from None
        except self.ray.exceptions.RayError as error:
            self._lost(actor, job, error)
            return None
        self.idle.append(actor)
        return job, found

    def _lost(self, actor: Any, job: Any, error: BaseException) -> None:
        self.places.leave(actor)
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
            self.places.leave(self.idle[-1])
            self._await(self.idle.pop())


def first_line(error: BaseException) -> str:
    """Of what an error of the library says: the rest are traces of its processes."""
    return next(iter(str(error).splitlines()), type(error).__name__)
