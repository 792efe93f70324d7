"""Cells on a Ray cluster equal those of a serial run, whatever happens to a node."""

import os

import pytest
import torch

import ropewalk as rw
from ropewalk.api import compare
from ropewalk.cluster.ray_executor import RayExecutor
from ropewalk.cluster.table import executor_named
from ropewalk.data import demo_model
from ropewalk.evaluation.executor import SerialExecutor
from ropewalk.evaluation.progress import Silent

# Nodes on 127.0.0.1 alone: by default the library binds to the machine's own address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

REQUEST = {
    "methods": ["none", "linear:factor=2", "ntk_aware:factor=2", "rerope:window=64"],
    "lengths": [128, 384],
    "tail_tokens": 64,
    "windows": 1,
}
VARYING = ("seconds", "peak_memory_bytes")


def figures(result):
    records = [
        {name: value for name, value in record.items() if name not in VARYING}
        for record in result.records
    ]
    return sorted(records, key=lambda each: (each["method"], each["length"]))


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A run in this process, with as many threads as a worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return figures(compare(str(demo_model()), out=tmp_path_factory.mktemp("run"), **REQUEST))
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def cluster():
    """Three nodes of one CPU each, on 127.0.0.1."""
    nodes = Cluster()
    settings = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    nodes.add_node(**settings)
    rest = [nodes.add_node(**settings) for _ in range(2)]
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes, rest
    ray.shutdown()
    nodes.shutdown()


def test_a_node_that_is_lost_costs_no_cell(cluster, serial, tmp_path):
    """Bit for bit what a serial run with a worker's thread count gives."""
    nodes, rest = cluster
    lost = []

    class Losing(Silent):
        def finished(self, result):
            if not lost:
                lost.append(result)
                nodes.remove_node(rest[0], allow_graceful=False)

    executor = RayExecutor(workers=3)
    found = compare(
        str(demo_model()), out=tmp_path, executor=executor, progress=Losing(), **REQUEST
    )
    assert len(lost) == 1
    assert figures(found) == serial
    assert {record["threads"] for record in found.records} == {1}


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
