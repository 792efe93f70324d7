"""Cells on a Ray cluster equal those of a serial run, whatever happens to a node."""

import json
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch

import ropewalk as rw
from cluster.lost_node import REQUEST
from ropewalk.api import compare
from ropewalk.cluster.ray_executor import RayExecutor
from ropewalk.cluster.table import executor_named
from ropewalk.data import demo_model
from ropewalk.evaluation.executor import SerialExecutor

pytest.importorskip("ray")
PROGRAM = Path(__file__).with_name("lost_node.py")
STARTS, START_SECONDS, SECONDS = 3, 40, 120
VARYING = ("seconds", "peak_memory_bytes")


def figures(records):
    kept = [
        {name: value for name, value in record.items() if name not in VARYING} for record in records
    ]
    return sorted(kept, key=lambda each: (each["method"], each["length"]))


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A run in this process, with as many threads as a worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = compare(str(demo_model()), out=tmp_path_factory.mktemp("run"), **REQUEST)
    finally:
        torch.set_num_threads(before)
    return figures(json.loads(json.dumps(found.records)))


@contextmanager
def running(folder):
    """The program; its cluster ends with the block, whatever state it is in."""
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(folder)], start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # the library ends the nodes then
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def waited(process, file, seconds):
    """Whether a file appears in time, while the program runs."""
    until = monotonic() + seconds
    while monotonic() < until and process.poll() is None and not file.exists():
        sleep(0.2)
    return file.exists()


def test_a_node_that_is_lost_costs_no_cell(serial, tmp_path):
    """Bit for bit what a serial run with a worker's thread count gives.

    Where the library's control service does not answer, the cluster is started anew; of what
    happens from then on nothing is tried twice.
    """
    for attempt in range(STARTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with running(folder) as process:
            if not waited(process, folder / "begun", START_SECONDS):
                continue
            assert process.wait(SECONDS) == 0
            found = json.loads((folder / "records.json").read_text("utf-8"))
            break
    else:
        pytest.fail(f"no cluster in {STARTS} starts of {START_SECONDS} s")
    assert found["lost"] == 1
    assert figures(found["records"]) == serial
    assert {record["threads"] for record in found["records"]} == {1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serial", SerialExecutor),
        ("ray", RayExecutor(workers=None)),
        ("ray:10.0.0.1:6379", RayExecutor(address="10.0.0.1:6379")),
    ],
)
def test_an_executor_is_named(text, expected):
    found = executor_named(text)
    assert found == expected or isinstance(found, SerialExecutor)


@pytest.mark.parametrize(
    ("text", "workers", "message"),
    [
        ("dask", None, "executor dask: expected serial, ray, or ray:ADDRESS"),
        ("ray:", None, "expected serial, ray, or ray:ADDRESS"),
        ("serial", 2, "2 workers: the serial executor has one"),
        ("ray", 0, "0 workers: expected at least 1"),
    ],
)
def test_a_bad_executor_is_refused(text, workers, message):
    with pytest.raises(rw.RopewalkError, match=message):
        executor_named(text, workers)


def test_longest_first():
    class Costing:
        def __init__(self, cost):
            self.cost = cost

    jobs = [Costing(cost) for cost in (3, 9, 1, 5)]
    assert [each.cost for each in RayExecutor().order(jobs)] == [9, 5, 3, 1]
    assert SerialExecutor().order(jobs) == jobs
