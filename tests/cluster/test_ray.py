"""Cells on a Ray cluster equal those of a serial run, whatever happens to a node."""

import json
from pathlib import Path

import pytest
import torch

import ropewalk as rw
from cluster.lost_node import REQUEST
from cluster.programs import PATIENT, told
from ropewalk.api import compare
from ropewalk.cluster.ray_executor import RayExecutor
from ropewalk.cluster.table import executor_named
from ropewalk.data import demo_model
from ropewalk.evaluation.executor import SerialExecutor

pytest.importorskip("ray")
PROGRAM = Path(__file__).with_name("lost_node.py")
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


@PATIENT
def test_a_node_that_is_lost_costs_no_cell(serial, tmp_path):
    """Bit for bit what a serial run with a worker's thread count gives."""
    found = told(PROGRAM, tmp_path)
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


@pytest.mark.parametrize(
    ("text", "ranks", "message"),
    [
        ("serial", 2, "2 ranks: the serial executor is one process; add --executor ray, or start"),
        ("ray", 0, "0 ranks: expected at least 1"),
    ],
)
def test_ranks_that_no_executor_has_are_refused(text, ranks, message):
    with pytest.raises(rw.RopewalkError, match=message):
        executor_named(text, ranks=ranks)


CPU, GPU = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("total", "workers", "ranks", "expected"),
    [
        (CPU, None, 1, (8, {"num_cpus": 1})),
        (CPU, 16, 1, (16, {"num_cpus": 0.5})),
        (CPU, None, 3, (2, {"num_cpus": 1})),
        (CPU, 4, 4, (4, {"num_cpus": 0.5})),
        (GPU, None, 1, (4, {"num_gpus": 1})),
        (GPU, None, 3, (1, {"num_gpus": 1})),
    ],
)
def test_what_a_process_takes_of_a_cluster(total, workers, ranks, expected):
    """A GPU each, or a CPU; only CPUs are shared."""
    assert RayExecutor(workers=workers, ranks=ranks)._shares(total) == expected


@pytest.mark.parametrize(
    ("total", "workers", "message"),
    [
        (CPU, None, "9 ranks on a cluster that has 8 CPUs: .* or --workers 1 to share CPUs"),
        (GPU, 1, "9 ranks on a cluster that has 4 GPUs: expected one each; give fewer ranks$"),
    ],
)
def test_more_ranks_than_a_cluster_has_places_for_are_refused(total, workers, message):
    with pytest.raises(rw.RopewalkError, match=message):
        RayExecutor(workers=workers, ranks=9)._shares(total)


def test_longest_first():
    class Costing:
        def __init__(self, cost):
            self.cost = cost

    jobs = [Costing(cost) for cost in (3, 9, 1, 5)]
    assert [each.cost for each in RayExecutor().order(jobs)] == [9, 5, 3, 1]
    assert SerialExecutor().order(jobs) == jobs
