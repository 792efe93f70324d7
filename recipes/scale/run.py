"""Cells of the demo model on one worker and on two, into docs/results/scale.json.

    python -m recipes.scale.run

On cores that do nothing else. A worker has one thread. Workers have begun and loaded their model
before the clock starts; rounds of one worker and of two follow each other.

    ratio     seconds on one worker / seconds on two, of the same cells
    overhead  (seconds on one worker - seconds of the cells' passes) / cells
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import typer

from recipes.pages import RESULTS, write_result
from recipes.run import environment
from ropewalk.cluster.placing import NO_DEMAND
from ropewalk.cluster.ray_executor import (
    RayExecutor,
    _connected,
    _measuring,
    _Sent,
    _without,
    ray_library,
)
from ropewalk.comparing.request import CompareRequest
from ropewalk.comparing.setup import set_up
from ropewalk.evaluation.jobs import Job, jobs_of

METHODS = ("none", "linear", "ntk_aware", "yarn", "rerope", "self_extend")
LENGTHS = (512, 768, 1024, 1536)
WINDOWS = 4
ROUNDS, PRIMES = 3, 6


def main() -> None:
    asked = CompareRequest.of(None, methods=METHODS, lengths=LENGTHS, windows=WINDOWS)
    ready = set_up(asked)
    jobs = list(jobs_of(ready.run.series, source=ready.source, setting=ready.run.setting, batch=1))
    rounds: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for workers, found in rounds.items():
            found.append(measured(jobs, workers))
            typer.echo(f"round {number + 1}, {workers} workers: {found[-1]}")
    one, two = (statistics.median(each["wall"] for each in rounds[w]) for w in (1, 2))
    overheads = [(each["wall"] - each["passes"]) / len(jobs) for each in rounds[1]]
    document: dict[str, Any] = {
        "cells": len(jobs),
        "methods": METHODS,
        "lengths": LENGTHS,
        "windows": WINDOWS,
        "threads": 1,
        "rounds": {str(workers): each for workers, each in rounds.items()},
        "ratio": one / two,
        "overhead_seconds": statistics.median(overheads),
        "environment": environment("cpu", "float32", 1),
    }
    write_result(document, RESULTS / "scale.json")


def measured(jobs: Sequence[Job], workers: int) -> dict[str, float]:
    """Seconds of all jobs on so many workers, and of their passes."""
    ray, executor = ray_library(), RayExecutor(workers=workers)
    with _connected(ray, None, workers):
        pool = executor._pool(ray, _measuring, _Sent(ray).job, _without, NO_DEMAND)
        try:
            shortest = min(jobs, key=lambda job: job.cost)
            list(pool.results(iter([shortest] * PRIMES)))
            pool.count = 0  # those that have begun are enough
            started = time.perf_counter()
            ordered = executor.order(jobs)
            results = [found for _, found in pool.results(iter(ordered))]
            wall = time.perf_counter() - started
        finally:
            pool.close()
    passes = sum(cell.record()["seconds"] for cells in results for cell in cells)
    return {"wall": wall, "passes": passes}


if __name__ == "__main__":
    typer.run(main)
