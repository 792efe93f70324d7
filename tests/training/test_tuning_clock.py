"""Seconds of a budget, and the steps that they are worth."""

import time

import pytest

import ropewalk as rw
from ropewalk.training.tuning.run import Clock


def test_a_budget_is_divided_among_steps_and_stages():
    """(100 left - 20 kept) / 2 stages / 4 s a step = 10."""
    clock = Clock(time.monotonic(), 100.0)
    assert clock.steps(4.0, reserve=19.9, share=2) == 10
    assert Clock(0.0, None).left == float("inf")
    with pytest.raises(rw.RopewalkError, match=r"a step takes 90\.0 s"):
        clock.steps(90.0, reserve=20.0, share=1)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_that_no_clock_can_count_are_refused(budget):
    with pytest.raises(rw.RopewalkError, match="seconds above 0"):
        Clock(0.0, budget)
