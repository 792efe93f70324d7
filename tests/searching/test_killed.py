"""A search that is killed at any moment ends with the result that it would have had."""

import json
import os
import random
import sys
import time

import pytest

from recipes.kill.killing import CHILDREN, finished, leftovers
from ropewalk.cli.main import main
from ropewalk.data import demo_book, toy_model

CHILDREN.set_forkserver_preload(["ropewalk.api", "ropewalk.reporting.searches"])


def search(arguments):
    """In the child: what the command does, in silence."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.exit(main(["search", *arguments]))


def started(arguments, out):
    child = CHILDREN.Process(target=search, args=([*arguments, "--out", str(out)],))
    child.start()
    return child


def kill_at(arguments, out, cells, seconds):
    """Kill so many seconds after so many cells; whether it was still running."""
    child = started(arguments, out)
    while child.is_alive() and len(finished(out)) < cells:
        time.sleep(0.002)
    time.sleep(seconds)
    running = child.is_alive()
    child.kill()
    child.join()
    return running


def result(arguments, out):
    child = started(arguments, out)
    child.join()
    assert child.exitcode == 0
    document = json.loads((out / "search.json").read_text())
    for name in ("seconds", "run_dir", "method", "method_by_length"):
        document.pop(name)
    return document, json.loads((out / "factors.json").read_text())


@pytest.fixture
def arguments(tmp_path):
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one order of sums in all processes
    text = tmp_path / "book.txt"
    text.write_text(demo_book().read_text("utf-8")[:20_000], "utf-8")
    return [
        str(toy_model()), "--length", "320", "--tail-tokens", "32", "--documents", "2", "1", "2",
        "--text", str(text), "--evaluations", "8",
    ]  # fmt: skip


def test_a_killed_search_goes_on_to_the_same_result(tmp_path, arguments):
    broken = tmp_path / "broken"
    assert kill_at(arguments, broken, cells=12, seconds=0.01)
    before = {path.name for path in finished(broken)}
    assert len(before) >= 12
    assert not (broken / "search.json").exists()
    found = result(arguments, broken)
    assert before < {path.name for path in finished(broken)}
    assert found == result(arguments, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ramp", "cmaes", "gradient", "evolution", "segments"])
def test_ten_random_kills_change_nothing(tmp_path, arguments, way):
    arguments = [*arguments, "--way", way]
    whole = result(arguments, tmp_path / "whole")
    cells = len(finished(tmp_path / "whole"))
    draw, broken = random.Random(way), tmp_path / "broken"
    points = sorted(draw.uniform(0, cells) for _ in range(10))
    struck = [kill_at(arguments, broken, int(p), draw.random() * 0.05) for p in points]
    assert sum(struck) >= 8
    assert result(arguments, broken) == whole
    assert all(path.stat().st_size for path in finished(broken))
    assert len(leftovers(broken)) <= 10
