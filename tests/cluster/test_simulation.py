"""A run on a described cluster, against schedules worked out by hand."""

import json
from dataclasses import dataclass

import pytest

import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.cluster.described import Cluster, Kind
from ropewalk.cluster.placing import NO_DEMAND, Demand
from ropewalk.cluster.simulation import scheduled


@dataclass(frozen=True)
class Cell:
    seconds: float
    needs: int = 0


def schedule(seconds, *kinds, load=0.0, demand=NO_DEMAND):
    jobs = [each if isinstance(each, Cell) else Cell(each) for each in seconds]
    cluster = Cluster(kinds=kinds, load_seconds=load)
    return scheduled(jobs, lambda job: job.seconds, demand, cluster)


def test_the_longest_first_on_two_workers():
    """6 and 5 begin; 4 follows 5, 3 follows 6, and both workers are free at 9: 2 and 1."""
    found = schedule([6, 5, 4, 3, 2, 1], Kind(count=2))
    assert found.makespan == 11
    assert found.serial == 21
    assert found.idle == pytest.approx(1 - 21 / 22)


def test_one_long_cell_bounds_any_number_of_workers():
    found = schedule([8, 1, 1, 1], Kind(count=100))
    assert found.makespan == 8
    assert found.idle == pytest.approx(1 - 11 / 800)


def test_a_faster_worker_takes_more():
    """At twice the speed 4 takes 2 s, and so does each of the others after it."""
    found = schedule([4, 4, 4], Kind(count=1, speed=2.0), Kind(count=1))
    ends = sorted((each.stop, each.worker) for each in found.placed)
    assert ends in ([(2, 0), (4, 0), (4, 1)], [(2, 0), (4, 1), (4, 0)])


def test_each_worker_loads_once():
    found = schedule([3, 3, 3], Kind(count=2), load=10.0)
    assert found.makespan == 10 + 3 + 3
    assert found.idle == pytest.approx(1 - 9 / 32)


def test_a_cell_that_one_kind_cannot_hold_waits_for_another():
    demand = Demand(weights=1, of_job=lambda job: job.needs)
    kinds = (Kind(count=1, memory=10), Kind(count=3, memory=5))
    found = schedule([Cell(2, 8), Cell(2, 8), Cell(1, 1)], *kinds, demand=demand)
    assert [each.worker for each in found.placed if each.job.needs == 8] == [0, 0]
    assert found.makespan == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", 'expected {"workers"'),
        ('{"workers": []}', "0 workers"),
        ('{"workers": [{"cuont": 2}]}', "unknown key cuont: expected count, memory, speed"),
        ('{"workers": [{"count": 1.5}]}', "expected a whole number"),
        ('{"workers": [{"speed": 0}]}', "of speed 0"),
        ('{"workers": [{"memory": "much"}]}', "memory=much: expected for example 24GB"),
        ('{"workers": [{}], "load_seconds": "long"}', "load_seconds='long'"),
    ],
)
def test_a_file_that_describes_no_cluster_is_refused(tmp_path, text, message):
    place = tmp_path / "cluster.json"
    place.write_text(text)
    with pytest.raises(rw.RopewalkError, match=message):
        Cluster.read(place)


def test_the_real_jobs_of_a_run_are_scheduled(tmp_path, capsys):
    """On one worker of this machine's speed, the run takes what its cells take."""
    pytest.importorskip("ray")
    place = tmp_path / "cluster.json"
    place.write_text('{"workers": [{"count": 1}]}')
    lengths = ["--length", "64", "--length", "96", "--windows", "1", "--tail-tokens", "16"]
    methods = ["--method", "none", "--method", "yarn:factor=2"]
    where = ["--executor", "ray", "--cluster", str(place), "--out", str(tmp_path / "run")]
    assert main(["compare", "--dry-run", "--json", *methods, *lengths, *where]) == 0
    document = json.loads(capsys.readouterr().out)
    found = document["cluster"]
    assert found["jobs"] == len(document["cells"]) == 4
    assert found["idle"] == pytest.approx(0)
    assert found["seconds"] == pytest.approx(sum(cell["seconds"] for cell in document["cells"]))
    assert not (tmp_path / "run").exists()


def test_a_described_cluster_is_not_run_on(tmp_path, capsys):
    assert main(["compare", "--executor", "ray", "--cluster", str(tmp_path / "c.json")]) == 2
    assert "is not run on; add --dry-run" in capsys.readouterr().err
