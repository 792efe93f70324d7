"""A driver that is killed or interrupted leaves a folder that goes on, here or on a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")
from ropewalk.data import demo_book

pytestmark = pytest.mark.slow
SECONDS = 240.0
CELLS = 6
ON_RAY = ("--executor", "ray", "--workers", "2")


@pytest.fixture
def arguments(tmp_path):
    """A run whose last cells take a while, so that it can be stopped between two."""
    text = tmp_path / "text.txt"
    text.write_text(demo_book().read_text("utf-8")[20_000:60_000], "utf-8")
    methods = ("none", "linear:factor=4", "yarn:factor=4")
    lengths = ("96", "1024")
    return [
        *(word for method in methods for word in ("--method", method)),
        *(word for length in lengths for word in ("--length", length)),
        *("--windows", "2", "--tail-tokens", "32", "--text", str(text)),
        *("--out", str(tmp_path / "run")),
    ]


def begun(arguments, *more):
    command = [sys.executable, "-m", "ropewalk", "compare", *arguments, *more]
    with said(arguments).open("ab") as stderr:
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
        )


def said(arguments):
    """Where the run's standard error goes: beside its folder."""
    return Path(arguments[-1]).with_suffix(".err")


def cells(folder):
    return {file.name: file.stat().st_mtime_ns for file in (folder / "cells").glob("*.json")}


def stopped(child, folder, how):
    """The cells that were there when the driver was sent a signal after its second one."""
    end = time.monotonic() + SECONDS
    while len(cells(folder)) < 2:
        assert child.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(child.pid, how)
    child.wait(timeout=60)
    return cells(folder)


def ended(child):
    assert child.wait(timeout=SECONDS) == 0


@pytest.mark.parametrize(
    "again", [("--executor", "ray", "--workers", "2"), ()], ids=["ray", "serial"]
)
def test_a_driver_killed_and_run_again_measures_no_finished_cell(arguments, tmp_path, again):
    folder = tmp_path / "run"
    before = stopped(
        begun(arguments, "--executor", "ray", "--workers", "2"), folder, signal.SIGKILL
    )
    assert 2 <= len(before) < CELLS
    ended(begun(arguments, *again))
    after = cells(folder)
    assert len(after) == CELLS
    assert {name: after[name] for name in before} == before
    document = json.loads((folder / "results.json").read_text("utf-8"))
    assert {cell["status"] for cell in document["cells"]} == {"ok"}


def test_an_interrupted_driver_says_how_to_go_on_and_goes_on_serially(arguments, tmp_path):
    folder = tmp_path / "run"
    child = begun(arguments, *ON_RAY)
    before = stopped(child, folder, signal.SIGINT)
    assert child.returncode == 130
    assert "the same command goes on from there" in said(arguments).read_text("utf-8")
    ended(begun(arguments))
    after = cells(folder)
    assert len(after) == CELLS
    assert {name: after[name] for name in before} == before
