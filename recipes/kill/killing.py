"""Kill a comparison again and again, start it again each time, and see what it arrives at."""

import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ropewalk.cli.main import main

MEASURED_ANEW = ("seconds", "peak_memory_bytes")
"""What two runs of the same cells may differ in."""
POLL_SECONDS = 0.005
CHILDREN = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a run is killed: so many seconds after so many of its cells are finished."""

    cells: int
    seconds: float


def moments(kills: int, cells: int, cell_seconds: float, seed: int) -> list[Moment]:
    """Random moments, spread over the work that is to be done, in its order."""
    draw = random.Random(seed)
    points = sorted(draw.uniform(0, cells) for _ in range(kills))
    return [Moment(cells=int(p), seconds=p % 1 * cell_seconds) for p in points]


def undisturbed(arguments: Sequence[str], folder: Path) -> float:
    """Run to the end; seconds from the first finished cell to the last."""
    child = _started(arguments, folder)
    first = last = None
    while child.is_alive():
        if (done := len(finished(folder))) != last:
            last, now = done, time.monotonic()
            first = now if done == 1 else first
        time.sleep(POLL_SECONDS)
    _require_end(child)
    return now - (now if first is None else first)


def killed(arguments: Sequence[str], folder: Path, when: Sequence[Moment]) -> list[int]:
    """Kill at each moment, start again, and at last run to the end.

    Returns how many cells were finished at each kill; a run that ended before its moment came
    is not among them.
    """
    struck = []
    for moment in when:
        child = _started(arguments, folder)
        while child.is_alive() and len(finished(folder)) < moment.cells:
            time.sleep(POLL_SECONDS)
        time.sleep(moment.seconds)
        if not child.is_alive():
            break
        child.kill()
        child.join()
        struck.append(len(finished(folder)))
    child = _started(arguments, folder)
    child.join()
    _require_end(child)
    return struck


def finished(folder: Path) -> list[Path]:
    """Cells that a run has on the disk."""
    return sorted((folder / "cells").glob("*.json"))


def leftovers(folder: Path) -> list[Path]:
    """Files whose writing a kill cut short."""
    return sorted(folder.rglob("*.partial"))


def outcome(folder: Path) -> dict[str, Any]:
    """The results of a run, without what is measured anew each time."""
    document: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
    document.pop("run_dir")
    for cell in document["cells"]:
        for name in MEASURED_ANEW:
            cell.pop(name)
    return document


def _started(arguments: Sequence[str], folder: Path) -> BaseProcess:
    child = CHILDREN.Process(target=_compare, args=([*arguments, "--out", str(folder)],))
    child.start()
    return child


def _compare(arguments: Sequence[str]) -> None:
    """In the child: what the command does, in silence."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.exit(main(["compare", *arguments]))


def _require_end(child: BaseProcess) -> None:
    if child.exitcode != 0:
        raise RuntimeError(f"the comparison ended with status {child.exitcode}")
