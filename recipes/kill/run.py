"""Kill a comparison of the demo model ten times, and compare what it arrives at.

    python -m recipes.kill.run runs/kill

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
from recipes.pages import RESULTS, write_result

ARGUMENTS = [
    "--method=none",
    "--method=yarn",
    "--method=dynamic_ntk:step=32",
    "--length=1x",
    "--length=2x",
    "--length=4x",
    "--windows=4",
]
KILLS, SEED = 10, 0


def main(runs: Path) -> None:
    """RUNS: a folder for the two runs; what it holds of earlier ones is deleted."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one order of sums in all processes
    whole, broken = runs / "whole", runs / "broken"
    for folder in (whole, broken):
        shutil.rmtree(folder, ignore_errors=True)
    seconds = undisturbed(ARGUMENTS, whole)
    cells = len(finished(whole))
    when = moments(KILLS, cells, seconds / (cells - 1), SEED)
    struck = killed(ARGUMENTS, broken, when)
    document = {
        "command": f"ropewalk compare {' '.join(ARGUMENTS)}",
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
    write_result(document, RESULTS / "kill.json")
    typer.echo(json.dumps(document, indent=1))
    if not (document["same_results"] and document["same_files"]):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
