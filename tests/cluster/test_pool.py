"""What becomes of a job whose worker is lost, step by step, on a cluster made of lists."""

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace

import pytest

import ropewalk as rw
from ropewalk.cluster import pool as pool_module
from ropewalk.cluster.pool import LOSSES, Pool
from ropewalk.ranks.failing import PeerLost, RankFailed


class RayError(Exception):
    pass


class RayTaskError(RayError):
    @property
    def cause(self):
        return self.args[0]


@dataclass(frozen=True, order=True)
class Cell:
    """A job as far as a pool sees it."""

    name: str


@dataclass(eq=False)
class Call:
    """A call of a worker: ``outcome`` when it ends, an exception to raise or a value."""

    worker: object
    outcome: object


@dataclass(eq=False)
class Worker:
    """One of a cluster; ``ranks`` of it follow another one."""

    cluster: "FakeRay"
    ranks: int = 0
    alive: bool = True
    failed: Exception | None = None

    def __post_init__(self):
        self.lifelines = [Call(self, None) for _ in range(self.ranks)]

    def ready(self):
        return Call(self, None)

    def work(self, task):
        (cell,) = task
        self.cluster.begun.append(cell)
        if isinstance(fate := self.cluster.fates.get(cell), list):
            fate = fate.pop() if fate else None
        if fate == "lost":
            self.alive = False
        if isinstance(fate, RankFailed) and self.ranks:
            self.failed = fate  # one that follows: the leader waits for it
        elif isinstance(fate, Exception):
            return Call(self, RayTaskError(fate))
        return Call(self, (f"result of {cell}",))

    def end(self):
        self.cluster.killed.append(self)


@dataclass(eq=False)
class FakeRay:
    """``room`` workers at once. A worker past it waits for ever, as it does in the library."""

    room: int
    fates: dict = field(default_factory=dict)
    broken: bool = False
    ranks: int = 0
    rest: dict = field(default_factory=dict)
    workers: list = field(default_factory=list)
    begun: list = field(default_factory=list)
    killed: list = field(default_factory=list)
    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def start(self):
        self.workers.append(Worker(self, self.ranks))
        return self.workers[-1]

    def _ends(self, call):
        worker = call.worker
        living = [each for each in self.workers if each.alive and each not in self.killed]
        if worker in living and living.index(worker) >= self.room:
            return False
        gone = worker not in living or worker.failed is not None
        return gone if call in worker.lifelines else worker.failed is None

    def wait(self, calls, num_returns, timeout):
        assert num_returns == 1
        ended = [call for call in calls if self._ends(call)]
        assert ended or timeout is not None, "waits for ever"
        return ended[:1], [call for call in calls if call not in ended[:1]]

    def get(self, call):
        if self.broken:
            call.worker.alive = False
        if not call.worker.alive:
            raise RayError("the actor died\nand a long trace")
        if call.worker.failed is not None:
            raise RayTaskError(call.worker.failed)
        if isinstance(call.outcome, Exception):
            raise call.outcome
        return call.outcome


def pool_of(cluster, count):
    return Pool(
        ray=cluster,
        start=cluster.start,
        sent=lambda cell: (cell.name,),
        without=lambda cell, error: ((f"no {cell.name}: {error}",), cluster.rest.pop(cell, None)),
        count=count,
    )


def cells(count):
    return [Cell(name=f"cell {k}") for k in range(count)]


def test_each_job_runs_once_where_nothing_is_lost():
    cluster = FakeRay(room=2)
    jobs = cells(5)
    found = dict(pool_of(cluster, 2).results(iter(jobs)))
    assert found == {job: (f"result of {job.name}",) for job in jobs}
    assert sorted(cluster.begun) == [job.name for job in jobs]


@pytest.mark.parametrize("lost", range(5))
def test_a_lost_workers_job_goes_to_another_though_no_new_one_finds_room(lost):
    """Three workers on three nodes; a node goes, two have room: nothing waits for ever."""
    cluster = FakeRay(room=3)
    cluster.fates[f"cell {lost}"] = ["lost"]
    jobs = cells(5)
    found = []
    for job, results in pool_of(cluster, 3).results(iter(jobs)):
        found.append((job.name, results))
        cluster.room = 2
    assert sorted(found) == [(job.name, (f"result of {job.name}",)) for job in jobs]
    assert cluster.begun.count(f"cell {lost}") == 2


def test_idle_workers_of_a_lost_node_take_no_job_down_with_them():
    """Each of those that died while idle is found out before it is given the job."""
    cluster = FakeRay(room=8)
    cluster.fates["cell 0"] = ["lost"]
    job = cells(1)[0]
    pool = pool_of(cluster, 8)
    for _ in range(8):
        pool.idle.append(cluster.start())
        pool.places.join(pool.idle[-1], ())
    for worker in pool.idle[:-1]:
        worker.alive = False
    pool.count = 0
    assert list(pool.results(iter([job]))) == [(job, ("result of cell 0",))]
    assert cluster.begun == ["cell 0", "cell 0"]


def test_a_cell_that_takes_its_workers_down_is_told():
    cluster = FakeRay(room=2)
    cluster.fates["cell 1"] = ["lost"] * LOSSES
    with pytest.raises(rw.RopewalkError, match=f"lost {LOSSES} workers over one cell .the actor"):
        list(pool_of(cluster, 2).results(iter(cells(3))))
    assert cluster.begun.count("cell 1") == LOSSES


def test_an_error_of_a_job_keeps_its_type():
    cluster = FakeRay(room=1, fates={"cell 0": rw.RopewalkError("length 5: expected less")})
    with pytest.raises(rw.RopewalkError, match="length 5: expected less"):
        list(pool_of(cluster, 1).results(iter(cells(1))))


def test_a_cluster_that_cannot_start_a_worker_is_told():
    cluster = FakeRay(room=2, broken=True)
    with pytest.raises(rw.RopewalkError, match=r"could not start a worker \(the actor died\)"):
        list(pool_of(cluster, 2).results(iter(cells(2))))
    assert len(cluster.workers) == 2 + 2 + LOSSES


def test_a_cluster_without_room_is_told(monkeypatch):
    monkeypatch.setattr(pool_module, "PATIENCE", 7.0)
    with pytest.raises(rw.RopewalkError, match="gave no worker in 7 s"):
        list(pool_of(FakeRay(room=0), 2).results(iter(cells(2))))


def test_no_job_is_taken_before_a_worker_is_free():
    """So that a run with a budget chooses its next cell when it knows what the last one cost."""
    cluster = FakeRay(room=2)
    taken = []
    jobs = (taken.append(job) or job for job in cells(6))
    ahead = [len(taken) for _ in pool_of(cluster, 2).results(jobs)]
    assert ahead[0] <= 2
    assert all(b - a <= 1 for a, b in pairwise(ahead))


def test_close_ends_every_worker():
    cluster = FakeRay(room=3)
    pool = pool_of(cluster, 3)
    running = pool.results(iter(cells(9)))
    next(running)
    pool.close()
    assert set(cluster.killed) == set(cluster.workers)


RANKS = [("the leader", 0), ("one that follows", 1)]


@pytest.mark.parametrize(("who", "ranks"), RANKS, ids=[who for who, _ in RANKS])
def test_a_rank_that_cannot_go_on_ends_its_group_and_that_cell(who, ranks):
    """What it said is the cell's reason; what is left of the job comes next, on another group."""
    cluster = FakeRay(room=1, ranks=ranks, fates={"cell 1": RankFailed("no memory")})
    jobs, rest = cells(3), Cell("the rest of cell 1")
    cluster.rest[jobs[1]] = rest
    found = list(pool_of(cluster, 1).results(iter(jobs)))
    assert found == [
        (jobs[0], ("result of cell 0",)),
        (jobs[1], ("no cell 1: no memory",)),
        (rest, ("result of the rest of cell 1",)),
        (jobs[2], ("result of cell 2",)),
    ]
    assert cluster.killed == cluster.workers[:1]


def test_a_leader_that_lost_another_rank_has_no_reason_of_its_own():
    """Its cell goes to another group, as that of a lost worker does."""
    cluster = FakeRay(room=1, ranks=1, fates={"cell 0": [PeerLost("another rank is gone")]})
    job = cells(1)[0]
    assert list(pool_of(cluster, 1).results(iter([job]))) == [(job, ("result of cell 0",))]
    assert len(cluster.workers) == 2


@pytest.mark.parametrize("lost", range(3))
def test_a_group_that_is_torn_is_ended_and_another_takes_its_cell(lost):
    cluster = FakeRay(room=2, ranks=3)
    cluster.fates[f"cell {lost}"] = ["lost"]
    jobs = cells(3)
    pool = pool_of(cluster, 2)
    found = list(pool.results(iter(jobs)))
    assert sorted(found) == [(job, (f"result of {job.name}",)) for job in jobs]
    assert all(worker in cluster.killed for worker in cluster.workers if not worker.alive)
    assert all(worker not in cluster.killed for worker in pool.lifelines.values())


@pytest.mark.parametrize("fate", ["idle", "starting"])
def test_a_group_without_a_cell_that_is_torn_is_replaced(fate):
    cluster = FakeRay(room=2, ranks=1)
    pool = pool_of(cluster, 1)
    pool._one_more()
    if fate == "idle":
        pool._joins(next(iter(pool.starting)))
    torn = cluster.workers[0]
    torn.alive = False
    assert pool._found(torn.lifelines[0]) is None
    assert cluster.killed == [torn]
    assert pool.idle == []
    assert list(pool.starting.values()) == cluster.workers[1:]
