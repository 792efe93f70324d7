"""The schedule of a run on a described cluster: the real jobs, placed as an executor places them.

    makespan = when the last job ends;   idle = 1 - work / (workers * makespan)

Seconds of a job are its cost by estimate over its worker's speed; loading is no work. Nothing is
lost on the way and workers answer at once: the least that the cluster takes, by the estimate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from ropewalk.cluster.described import Cluster
from ropewalk.cluster.placing import Demand, Places, Room
from ropewalk.evaluation.jobs import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One job in the schedule: from ``start`` to ``stop``, in seconds."""

    job: Job
    worker: int
    start: float
    stop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Of all jobs.

    workers  of the cluster
    serial   seconds of all jobs, one after the other, on this machine
    """

    workers: int
    placed: tuple[Placed, ...]
    serial: float

    @property
    def makespan(self) -> float:
        return max((each.stop for each in self.placed), default=0.0)

    @property
    def idle(self) -> float:
        """Share of the workers' time until the end in which they run no job."""
        work = sum(each.stop - each.start for each in self.placed)
        whole = self.workers * self.makespan
        return 1 - work / whole if whole else 0.0

    def record(self) -> dict[str, Any]:
        """As a JSON object; the longest job bounds the makespan of any number of workers."""
        longest = max(self.placed, key=lambda each: each.stop - each.start, default=None)
        return {
            "workers": self.workers,
            "jobs": len(self.placed),
            "seconds": self.makespan,
            "idle": self.idle,
            "seconds_here": self.serial,
            "longest": None if longest is None else _named(longest),
            "schedule": [_named(each) | {"worker": each.worker} for each in self.placed],
        }


def scheduled(
    jobs: Sequence[Job], seconds: Callable[[Job], float], demand: Demand, cluster: Cluster
) -> Schedule:
    """jobs     in the order in which an executor takes them
    seconds  of a job on this machine
    """
    kinds = [kind for kind in cluster.kinds for _ in range(kind.count)]
    places = Places(demand=demand)
    for worker, kind in enumerate(kinds):
        places.join(worker, (Room(place=str(worker), memory=kind.memory),))
    placed: list[Placed] = []
    idle, waiting = list(range(len(kinds))), list(jobs)
    loaded: set[int] = set()
    at_work: list[tuple[float, int]] = []
    now = 0.0
    while waiting or at_work:
        for worker, job in _begun(places, idle, waiting):
            begins = now if worker in loaded else now + cluster.load_seconds
            ends = begins + seconds(job) / kinds[worker].speed
            placed.append(Placed(job=job, worker=worker, start=begins, stop=ends))
            loaded.add(worker)
            heappush(at_work, (ends, worker))
        now, worker = heappop(at_work)
        places.end(worker)
        idle.append(worker)
    return Schedule(
        workers=len(kinds), placed=tuple(placed), serial=sum(seconds(job) for job in jobs)
    )


def _begun(places: Places, idle: list[int], waiting: list[Job]) -> list[tuple[int, Job]]:
    """Jobs that begin now, each with its worker; both are taken out of the lists."""
    begun = []
    for job in list(waiting):
        if not idle:
            break
        worker = places.take(job, idle)
        if worker is not None:
            idle.remove(worker)
            waiting.remove(job)
            begun.append((worker, job))
    return begun


def _named(one: Placed) -> dict[str, Any]:
    job = one.job
    return {
        "task": job.task_text.partition(":")[0],
        "method": job.method.text,
        "mode": job.split.name,
        "length": job.lengths[-1],
        "start": one.start,
        "stop": one.stop,
    }
