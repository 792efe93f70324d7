"""How long the demo takes alone and beside a busy loop, and some of its cells by how threads wait.

    python -m recipes.busy.run

On cores that are otherwise quiet. Writes docs/results/busy.json.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import typer

from recipes.pages import RESULTS, write_result
from ropewalk.cli.main import WAITING

FEW = ("--method=none", "--method=yarn", "--length=1x", "--length=4x")
LOOP = (sys.executable, "-c", "while True: pass")
COMMAND = (sys.executable, "-m", "ropewalk", "compare")
THREADS = (*WAITING, "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of this shell that would decide how the command's threads run."""


def main() -> None:
    document = {
        "cores": os.cpu_count(),
        "device": f"{platform.machine()} CPU",
        "torch": torch.__version__,
        "demo": {"alone": _timed((), {}), "beside_a_loop": _beside((), {})},
        "few_cells": {
            policy: {"alone": _timed(FEW, words), "beside_a_loop": _beside(FEW, words)}
            for policy, words in (
                ("passive", {}),
                ("active", {"OMP_WAIT_POLICY": "ACTIVE"}),
                ("one_thread", {"OMP_NUM_THREADS": "1"}),
            )
        },
    }
    write_result(document, RESULTS / "busy.json")


def _beside(arguments: tuple[str, ...], variables: dict[str, str]) -> dict[str, Any]:
    with _loop():
        return _timed(arguments, variables)


@contextmanager
def _loop() -> Iterator[None]:
    loop = subprocess.Popen(LOOP)
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def _timed(arguments: tuple[str, ...], variables: dict[str, str]) -> dict[str, Any]:
    """Seconds of one run, its start and the loading of libraries included; a new run folder."""
    here = {name: value for name, value in os.environ.items() if name not in THREADS}
    with tempfile.TemporaryDirectory() as folder:
        out = f"--out={Path(folder) / 'run'}"
        cpu, begun = _cpu(), time.monotonic()
        subprocess.run(
            [*COMMAND, *arguments, out], env=here | variables, check=True, capture_output=True
        )
        seconds = time.monotonic() - begun
    found = {"seconds": round(seconds, 1), "cpu_seconds": round(_cpu() - cpu, 1)}
    typer.echo(f"{' '.join(arguments) or 'demo'} {variables or ''}: {found}")
    return found


def _cpu() -> float:
    """Of all children that ended: the loop's stand in another reading, since it ends later."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    typer.run(main)
