"""Workers of a Ray cluster, and the jobs that go to them.

The library could restart a lost worker and repeat its call by itself (``max_restarts``,
``max_task_retries``), but it ties the call to that worker: where the nodes that are left have no
room for one more, the call waits for ever beside idle workers. So a lost worker's job goes back
to the queue here, and another worker starts when there is room.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from ropewalk.cluster.placing import NO_DEMAND, Places
from ropewalk.cluster.workers import PoolWorker
from ropewalk.core.errors import RopewalkError, first_line
from ropewalk.ranks.failing import PeerLost, RankFailed

PATIENCE = 300.0
"""Seconds that a run waits for a worker while none is at work."""
LOSSES = 3
"""Workers that one job may lose."""


@dataclass(slots=True, kw_only=True)
class Pool:
    """Workers that start, workers that are idle, and what the others are doing.

    ray      the library
    start    makes one more worker
    sent     what a worker is told of a job
    without  what is found of a job with which a rank could not go on, and what of it is left to do
             (None for nothing)
    count    of workers that are wanted
    places   where they are, and what fits there
    """

    ray: Any
    start: Callable[[], PoolWorker]
    sent: Callable[[Any], tuple[Any, ...]]
    without: Callable[[Any, RankFailed], tuple[Any, Any | None]]
    count: int
    places: Places = field(default_factory=lambda: Places(demand=NO_DEMAND))
    awaited: bool = True
    starting: dict[Any, PoolWorker] = field(default_factory=dict)
    idle: list[PoolWorker] = field(default_factory=list)
    running: dict[Any, tuple[PoolWorker, Any]] = field(default_factory=dict)
    lifelines: dict[Any, PoolWorker] = field(default_factory=dict)
    returned: list[Any] = field(default_factory=list)
    losses: list[Any] = field(default_factory=list)
    failed: int = 0

    def results(self, jobs: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Each job and its results, as they end. A job is taken when a worker is free.

        RopewalkError where the cluster gives no worker, or one job loses ``LOSSES`` of them; the
        error of a job is raised in its own type.
        """
        for _ in range(self.count):
            self._one_more()
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
        busy = [worker for worker, _ in self.running.values()]
        for worker in (*self.starting.values(), *self.idle, *busy):
            worker.end()

    def _handed_out(self, jobs: Iterator[Any]) -> bool:
        """Give idle workers jobs; whether anything is left to wait for.

        A job for which there is no memory now waits, and a few behind it are tried.
        """
        self.places.coming = len(self.starting) if self.awaited else 0
        waiting: list[Any] = []
        while (self.idle or not self.running) and len(waiting) <= self.count:
            if (job := self._next(jobs)) is None:
                break
            worker = self.places.take(job, self.idle)
            if worker is None:
                waiting.append(job)
                if not self.idle:  # nobody is there yet: keep it
                    break
                continue
            self.idle.remove(worker)
            self.running[worker.work(self.sent(job))] = worker, job
        self.returned += reversed(waiting)
        return bool(self.running or self.returned)

    def _next(self, jobs: Iterator[Any]) -> Any | None:
        return self.returned.pop() if self.returned else next(jobs, None)

    def _one_more(self) -> None:
        worker = self.start()
        self.lifelines.update((each, worker) for each in worker.lifelines)
        self._await(worker)

    def _await(self, worker: PoolWorker) -> None:
        self.starting[worker.ready()] = worker

    def _ended(self) -> Any:
        """What ends next. While jobs run there is no limit: a cell takes what it takes.

        None where idle workers waited in vain for one with more memory.
        """
        patience = None if self.running else PATIENCE
        # Lifelines first: what a rank says of itself comes before what the others make of it.
        open_calls = [*self.lifelines, *self.running, *self.starting]
        done, _ = self.ray.wait(open_calls, num_returns=1, timeout=patience)
        if not done and self.idle:
            return None
        if not done:
            raise RopewalkError(
                f"the cluster gave no worker in {PATIENCE:.0f} s: finished cells are kept; give "
                "the same command again when it has a free CPU or GPU, or --executor serial"
            )
        return done[0]

    def _joins(self, done: Any) -> None:
        worker = self.starting.pop(done)
        try:
            rooms = self.ray.get(done)
        except self.ray.exceptions.RayError as error:
            self._stillborn(worker, error)
        else:
            self.failed = 0
            self.places.join(worker, rooms or ())
            self.idle.append(worker)

    def _stillborn(self, worker: PoolWorker, error: BaseException) -> None:
        self._leaves(worker)
        self.failed += 1
        if self.failed > self.count + LOSSES:
            raise RopewalkError(
                f"the cluster could not start a worker ({reason_of(error)}): is this "
                "version of ropewalk installed on its nodes? --executor serial needs no cluster"
            ) from error
        self._one_more()

    def _found(self, done: Any) -> tuple[Any, Any] | None:
        """A job and its results; None where its worker was lost, and the job waits again."""
        if done in self.lifelines:
            return self._torn(self.lifelines.pop(done), self._error_of(done))
        worker, job = self.running.pop(done)
        self.places.end(worker)
        try:
            found = self.ray.get(done)
        except self.ray.exceptions.RayError as error:
            cause = cause_of(error)
            if cause is error or isinstance(cause, RankFailed | PeerLost):
                return self._ends_badly(worker, job, error)
            self.idle.append(worker)
            raise cause from None
        self.idle.append(worker)
        return job, found

    def _error_of(self, call: Any) -> BaseException:
        """Of a call that never ends by itself."""
        try:
            self.ray.get(call)
        except self.ray.exceptions.RayError as error:
            return cast(BaseException, error)
        return RopewalkError("a rank of the cluster stopped following")

    def _torn(self, worker: PoolWorker, error: BaseException) -> tuple[Any, Any] | None:
        """A part of a worker is lost, or cannot go on: so is the whole of it."""
        call = next((each for each, one in self.starting.items() if one is worker), None)
        if call is not None:
            del self.starting[call]
            self._stillborn(worker, error)
            return None
        call = next((each for each, (one, _) in self.running.items() if one is worker), None)
        if call is None:
            self.idle.remove(worker)
            self._leaves(worker)
            self._one_more()
            return None
        _, job = self.running.pop(call)
        return self._ends_badly(worker, job, error)

    def _ends_badly(
        self, worker: PoolWorker, job: Any, error: BaseException
    ) -> tuple[Any, Any] | None:
        """What is found of a job whose worker cannot go on; None where the job waits again."""
        cause = cause_of(error)
        if not isinstance(cause, RankFailed):
            self._lost(worker, job, error)
            return None
        self._leaves(worker)
        self._one_more()
        found, rest = self.without(job, cause)
        if rest is not None:
            self.returned.append(rest)
        return job, found

    def _lost(self, worker: PoolWorker, job: Any, error: BaseException) -> None:
        self._leaves(worker)
        self.losses.append(job)
        if sum(each is job for each in self.losses) == LOSSES:
            raise RopewalkError(
                f"the cluster lost {LOSSES} workers over one cell ({reason_of(error)}), as one "
                "too large for a node's memory does: finished cells are kept; give a shorter "
                "length, fewer workers, or --executor serial"
            ) from error
        self.returned.append(job)
        self._one_more()
        while self.idle:  # those of the same node are gone as well: each says whether it is there
            self.places.leave(self.idle[-1])
            self._await(self.idle.pop())

    def _leaves(self, worker: PoolWorker) -> None:
        """Nothing of it is left: what only cannot be reached would keep its CPU."""
        self.places.leave(worker)
        self.lifelines = {each: one for each, one in self.lifelines.items() if one is not worker}
        worker.end()


def cause_of(error: BaseException) -> BaseException:
    """What a process raised, of what the library raises here."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def reason_of(error: BaseException) -> str:
    """In one line: the rest are traces of the library's processes."""
    return first_line(cause_of(error))
