"""Paired differences to the best: who is told from it, and who is not."""

import pytest

from ropewalk.core.passes import FullPass
from ropewalk.evaluation.cells import Cell, Failure, Measurement
from ropewalk.evaluation.differences import to_best
from ropewalk.evaluation.units import Metric, Ratio, Unit
from ropewalk.methods.spec import parse_spec


class Figure:
    """A task by its metric alone."""

    def __init__(self, name: str, better: str) -> None:
        self.metric = Metric(name=name, better=better)


LOSS, RANK = Figure("loss", "lower"), Figure("rank_1", "higher")


def measured(method, values, task=LOSS, length=512):
    units = tuple(
        Unit(document=0, window=number, values={task.metric.name: Ratio(value, 1)})
        for number, value in enumerate(values)
    )
    text = "loss" if task is LOSS else "induction:trials=8"
    cell = Cell(method=parse_spec(method), split=FullPass(), length=length, task=text)
    return Measurement(cell=cell, task=task, units=units, seconds=1.0, peak_memory_bytes=None)


def test_what_is_always_a_little_worse_is_worse_and_what_goes_both_ways_is_not():
    best = [2.0, 3.0, 4.0, 5.0] * 4
    ahead = measured("none", best)
    always = measured("rerope", [value + 0.01 for value in best])
    both = measured("yarn:factor=2", [v + (0.5 if n % 2 else -0.4) for n, v in enumerate(best)])
    rows = {each["method"]: each for each in to_best([always, both, ahead])}
    assert set(rows) == {"rerope", "yarn:factor=2"}
    assert all(row["baseline"] == "none" for row in rows.values())
    assert rows["rerope"]["nll"] == pytest.approx(0.01)
    assert rows["rerope"]["ci95"] == pytest.approx([0.01, 0.01])
    assert rows["rerope"]["not_worse"] is False
    assert rows["yarn:factor=2"]["nll"] == pytest.approx(0.05)
    assert rows["yarn:factor=2"]["not_worse"] is True


def test_of_shares_the_highest_is_best():
    all_right = measured("none", [1.0] * 8, RANK)
    half = measured("rerope", [1.0, 0.0] * 4, RANK)
    same = measured("yarn:factor=2", [1.0] * 8, RANK)
    rows = {each["method"]: each for each in to_best([half, all_right, same])}
    assert rows["rerope"]["baseline"] == "none"
    assert rows["rerope"]["value"] == -0.5
    assert rows["rerope"]["not_worse"] is False
    assert rows["yarn:factor=2"]["not_worse"] is True


def test_a_single_sample_tells_apart_what_differs():
    rows = to_best([measured("none", [2.0]), measured("rerope", [2.1]), measured("alibi", [2.0])])
    assert [(row["method"], row["ci95"], row["not_worse"]) for row in rows] == [
        ("rerope", None, False),
        ("alibi", None, True),
    ]


def test_columns_are_apart_and_failures_are_left_out():
    cell = Cell(method=parse_spec("alibi"), split=FullPass(), length=512)
    rows = to_best(
        [
            measured("none", [2.0, 2.0]),
            measured("rerope", [3.0, 3.0], length=1024),
            Failure(cell=cell, reason="no"),
        ]
    )
    assert rows == []
