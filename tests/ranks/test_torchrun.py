"""Commands under torchrun, as they are typed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ropewalk.data import demo_book

pytestmark = pytest.mark.slow
SECONDS = 240.0
FEW = ("--method", "none", "--method", "dynamic_ntk:step=32", "--windows", "2", "--task", "loss")


@pytest.fixture
def text(tmp_path):
    place = tmp_path / "text.txt"
    place.write_text(demo_book().read_text("utf-8")[20_000:60_000], "utf-8")
    return ("--text", str(place))


ROPEWALK = ("-m", "ropewalk")
PLANTED = """
import sys

from ropewalk.cli.main import main
from ropewalk.integrations.ranked.model import RankedModel

losses = RankedModel.losses


def planted(model, *request):
    if model.ranks.rank == 1:
        raise RuntimeError("what was planted")
    return losses(model, *request)


RankedModel.losses = planted
sys.exit(main())
"""
"""The command, with an error on rank 1 in the middle of a cell."""


def torchrun(*command, program=ROPEWALK):
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    place = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0")
    return subprocess.Popen(
        [*run, *place, *program, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        text=True,
    )


def ended(child):
    try:
        return child.communicate(timeout=SECONDS)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)


def test_a_comparison_is_that_of_one_process(tmp_path, text):
    lengths = ("--length", "128", "--length", "1024")
    out, error = ended(
        torchrun("compare", *FEW, *lengths, *text, "--json", "--out", str(tmp_path / "two"))
    )
    document = json.loads(out)
    assert document["ranks"] == 2, error
    one = [sys.executable, "-m", "ropewalk", "compare", *FEW, *lengths, *text, "--json"]
    alone = subprocess.run(
        [*one, "--out", str(tmp_path / "one")], capture_output=True, timeout=SECONDS, check=True
    )
    expected = json.loads(alone.stdout)["cells"]
    assert len(expected) == 4
    for ours, theirs in zip(document["cells"], expected, strict=True):
        assert ours["nll"] == pytest.approx(theirs["nll"], abs=1e-5)


def test_bad_input_is_one_line_and_ends_all(tmp_path):
    child = torchrun("compare", "--method", "nono", "--out", str(tmp_path / "run"))
    _, error = ended(child)
    assert child.returncode == 1  # torchrun's own word for a rank that ended with 2
    assert error.count("error: unknown method nono") == 1
    assert "unknown method nono" in last_word(error)


def last_word(error):
    """What torchrun says of the rank that failed first, at the end of all."""
    said = [line for line in error.splitlines() if line.strip() and set(line.strip()) != {"="}]
    return said[-1].strip().removeprefix("traceback : ")


def test_the_reason_of_a_rank_that_fails_is_said_once_and_last(tmp_path, text):
    program = tmp_path / "planted.py"
    program.write_text(PLANTED, "utf-8")
    work = (*FEW, "--length", "96", *text, "--out", str(tmp_path / "run"))
    child = torchrun("compare", *work, program=(str(program),))
    _, error = ended(child)
    assert child.returncode == 1
    reason = "rank 1 of 2 cannot go on (what was planted)"
    assert last_word(error).startswith(reason)
    assert error.count(f"error: {reason}") == error.count("error: ") == 1


def test_a_rank_that_is_killed_ends_all_and_loses_no_finished_cell(tmp_path, text):
    """What is left goes on in one process."""
    folder = tmp_path / "run"
    work = (*FEW, "--length", "96", "--length", "2048", "--tail-tokens", "32", *text)
    child = torchrun("compare", *work, "--out", str(folder))
    end = time.monotonic() + SECONDS
    while not list((folder / "cells").glob("*.json")):
        assert child.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(_rank(child.pid, 1), signal.SIGKILL)
    ended(child)
    assert child.returncode != 0
    before = {file.name: file.stat().st_mtime_ns for file in (folder / "cells").glob("*.json")}
    assert 1 <= len(before) < 4
    one = [sys.executable, "-m", "ropewalk", "compare", *work, "--out", str(folder)]
    subprocess.run(one, capture_output=True, timeout=SECONDS, check=True)
    after = {file.name: file.stat().st_mtime_ns for file in (folder / "cells").glob("*.json")}
    assert len(after) == 4
    assert {name: after[name] for name in before} == before


def _rank(agent, rank):
    """Its process, among the children of torchrun's agent."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            environment = process.joinpath("environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == str(agent) and f"RANK={rank}".encode() in environment:
            return int(process.name)
    raise AssertionError(f"no rank {rank} of {agent}")
