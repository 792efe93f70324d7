"""Which worker takes a job: one at whose places there is memory for it.

    room(p) = memory(p) - weights * processes(p) - sum of what the jobs at work there need

A worker is one process, or several ranks that share a job out evenly. A job goes where most room is
left. Where nothing has room for it now, the worker with the most memory takes nothing else until
the job has begun there; a job that is larger than any place begins where nobody else is at work,
since what it needs is an estimate.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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

    weights  bytes that every process holds
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
    rooms: dict[Hashable, tuple[Room, ...]] = field(default_factory=dict)
    needs: dict[Hashable, int] = field(default_factory=dict)
    kept_for: dict[str, Any] = field(default_factory=dict)
    processes: Counter[str] = field(default_factory=Counter)
    """At each place."""
    taken: Counter[str] = field(default_factory=Counter)
    """Bytes that are needed at each place."""

    def join(self, worker: Hashable, rooms: Sequence[Room]) -> None:
        """A worker that is ready. Without a room, nothing is known of its memory."""
        self.rooms[worker] = tuple(rooms) or (Room(place=f"its own, {id(worker)}"),)
        self.processes.update(room.place for room in self.rooms[worker])

    def leave(self, worker: Hashable) -> None:
        """A worker that is lost."""
        self.end(worker)
        self.processes.subtract(room.place for room in self.rooms.pop(worker, ()))

    def end(self, worker: Hashable) -> None:
        """Its job is done."""
        self._take(worker, -self.needs.pop(worker, 0))

    def take(self, job: Job, idle: Iterable[Hashable]) -> Any | None:
        """The worker that begins ``job`` now; None where it has to wait."""
        need = self.demand.of_job(job)
        open_to_it = [
            worker
            for worker in reversed(list(idle))
            if all(self.kept_for.get(place, job) is job for place in self._places(worker))
            and self._has(worker, need)
        ]
        if not open_to_it:
            self._keep(job)
            return None
        worker = max(open_to_it, key=self._left)
        self.kept_for = {place: each for place, each in self.kept_for.items() if each is not job}
        self.needs[worker] = need
        self._take(worker, need)
        return worker

    def _take(self, worker: Hashable, need: int) -> None:
        rooms = self.rooms.get(worker, ())
        for room in rooms:
            self.taken[room.place] += need // len(rooms)

    def _keep(self, job: Job) -> None:
        free = [each for each in self.rooms if not self._places(each) & self.kept_for.keys()]
        if free and not any(each is job for each in self.kept_for.values()):
            most = max(free, key=self._whole)
            self.kept_for |= dict.fromkeys(self._places(most), job)

    def _has(self, worker: Hashable, need: int) -> bool:
        if need <= self._left(worker):
            return True
        at_work = any(self._places(worker) & self._places(other) for other in self.needs)
        larger = any(need <= self._whole(other) for other in self.rooms)
        return not (at_work or larger or self.coming)

    def _places(self, worker: Hashable) -> set[str]:
        return {room.place for room in self.rooms[worker]}

    def _left(self, worker: Hashable) -> int:
        """Bytes that a job may need, of which each place bears its share."""
        return self._least(worker, self.taken)

    def _whole(self, worker: Hashable) -> int:
        """The same, if nobody were at work."""
        return self._least(worker, {})

    def _least(self, worker: Hashable, taken: Mapping[str, int]) -> int:
        rooms = self.rooms[worker]
        own = Counter(room.place for room in rooms)
        return min(
            (
                room.memory
                - self.demand.weights * self.processes[room.place]
                - taken.get(room.place, 0)
            )
            * len(rooms)
            // own[room.place]
            for room in rooms
        )
