"""Which worker takes a job: one at whose place there is memory for it.

    room(p) = memory(p) - weights * workers(p) - sum of what the jobs at work there need

A job goes where most room is left. Where nothing has room for it now, the place with the most
memory takes nothing else until the job has begun there; a job that is larger than any place begins
where nobody else is at work, since what it needs is an estimate.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ropewalk.evaluation.jobs import Job

ENDLESS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A place whose memory workers share: a GPU, or a machine without one.

    memory  bytes
    """

    place: str
    memory: int = ENDLESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Memory of a run.

    weights  bytes that every worker holds
    of_job   bytes that a job takes beside them, by estimate
    """

    weights: int
    of_job: Callable[[Job], int]


NO_DEMAND = Demand(weights=0, of_job=lambda job: 0)


@dataclass(slots=True, kw_only=True)
class Places:
    """Workers by their places, and what their jobs need."""

    demand: Demand
    coming: int = 0
    """Workers that may still join, with more room."""
    rooms: dict[Hashable, Room] = field(default_factory=dict)
    needs: dict[Hashable, int] = field(default_factory=dict)
    kept_for: dict[str, Any] = field(default_factory=dict)

    def join(self, worker: Hashable, room: Room | None) -> None:
        """A worker that is ready. None for a room: nothing is known of its memory."""
        self.rooms[worker] = room or Room(place=f"its own, {id(worker)}")

    def leave(self, worker: Hashable) -> None:
        """A worker that is lost."""
        self.rooms.pop(worker, None)
        self.needs.pop(worker, None)

    def end(self, worker: Hashable) -> None:
        """Its job is done."""
        self.needs.pop(worker, None)

    def take(self, job: Job, idle: Iterable[Hashable]) -> Any | None:
        """The worker that begins ``job`` now; None where it has to wait."""
        need = self.demand.of_job(job)
        open_to_it = [
            worker
            for worker in reversed(list(idle))
            if self.kept_for.get(self.rooms[worker].place, job) is job and self._has(worker, need)
        ]
        if not open_to_it:
            self._keep(job, need)
            return None
        worker = max(open_to_it, key=self._left)
        self.kept_for = {place: each for place, each in self.kept_for.items() if each is not job}
        self.needs[worker] = need
        return worker

    def _keep(self, job: Job, need: int) -> None:
        free = [worker for worker in self.rooms if self.rooms[worker].place not in self.kept_for]
        if free and job not in self.kept_for.values():
            place = self.rooms[max(free, key=lambda worker: self.rooms[worker].memory)].place
            self.kept_for[place] = job

    def _has(self, worker: Hashable, need: int) -> bool:
        if need <= self._left(worker):
            return True
        place = self.rooms[worker].place
        at_work = any(self.rooms[other].place == place for other in self.needs)
        larger = any(need <= self._whole(other) for other in self.rooms)
        return not (at_work or larger or self.coming)

    def _left(self, worker: Hashable) -> int:
        place = self.rooms[worker].place
        taken = sum(need for other, need in self.needs.items() if self.rooms[other].place == place)
        return self._whole(worker) - taken

    def _whole(self, worker: Hashable) -> int:
        """Bytes at the place of a worker beside the weights of all workers there."""
        room = self.rooms[worker]
        workers = sum(each.place == room.place for each in self.rooms.values())
        return room.memory - self.demand.weights * workers
