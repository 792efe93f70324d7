"""Programs that start a cluster of their own on this machine."""

import json
import subprocess
import sys
from contextlib import contextmanager, suppress
from time import monotonic, sleep

import pytest

STARTS, START_SECONDS, SECONDS = 3, 120, 200
"""A node takes ten seconds and more to start on a busy machine, and a cluster has three."""
PATIENT = pytest.mark.timeout(STARTS * START_SECONDS + SECONDS)
"""Of tests that call ``told``."""


@contextmanager
def running(program, folder, *words):
    """The program; its cluster ends with the block, whatever state it is in."""
    command = [sys.executable, str(program), str(folder), *words]
    process = subprocess.Popen(command, start_new_session=True)
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


def told(program, folder, *words):
    """What the program writes of its comparison.

    Where the library's control service does not answer, the cluster is started anew; of what
    happens from then on nothing is tried twice.
    """
    for attempt in range(STARTS):
        own = folder / str(attempt)
        own.mkdir()
        with running(program, own, *words) as process:
            if not waited(process, own / "begun", START_SECONDS):
                continue
            assert process.wait(SECONDS) == 0
            return json.loads((own / "records.json").read_text("utf-8"))
    return pytest.fail(f"no cluster in {STARTS} starts of {START_SECONDS} s")
