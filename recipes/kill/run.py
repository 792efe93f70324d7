"""Kill a comparison of the demo model ten times, and compare what it arrives at.

    python recipes/kill/run.py runs/kill

Writes docs/results/kill.json; ends with status 1 if the results differ.
"""

import json
import os
import platform
import shutil
from pathlib import Path

import torch
import typer

from recipes.kill.killing import finished, killed, leftovers, moments, outcome, undisturbed

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "kill.json"
METHODS = ("none", "yarn", "dynamic_ntk:step=32")
LENGTHS = ("1x", "2x", "4x")
WINDOWS, KILLS, SEED = 4, 10, 0


def main(runs: Path) -> None:
    """RUNS: a folder for the two runs; what it holds of earlier ones is deleted."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one order of sums in all processes
    arguments = [f"--{name}={value}" for name, value in _flags()]
    whole, broken = runs / "whole", runs / "broken"
    for folder in (whole, broken):
        shutil.rmtree(folder, ignore_errors=True)
    seconds = undisturbed(arguments, whole)
    cells = len(finished(whole))
    when = moments(KILLS, cells, seconds / (cells - 1), SEED)
    struck = killed(arguments, broken, when)
    document = {
        "command": f"ropewalk compare {' '.join(arguments)}",
        "cells": cells,
        "seconds_from_first_to_last_cell": round(seconds, 1),
        "seed": SEED,
        "kills": len(struck),
        "cells_finished_at_each_kill": struck,
        "files_cut_short": len(leftovers(broken)),
        "same_results": outcome(broken) == outcome(whole),
        "same_files": [each.name for each in finished(broken)]
        == [each.name for each in finished(whole)],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    typer.echo(json.dumps(document, indent=1))
    if not (document["same_results"] and document["same_files"]):
        raise typer.Exit(1)


def _flags() -> list[tuple[str, object]]:
    methods = [("method", method) for method in METHODS]
    lengths = [("length", length) for length in LENGTHS]
    return [*methods, *lengths, ("windows", WINDOWS)]


if __name__ == "__main__":
    typer.run(main)
