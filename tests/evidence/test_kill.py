"""A comparison that is killed, again and again, arrives where an undisturbed one does."""

import json
import re

import pytest

from recipes.kill import killing
from recipes.kill.killing import finished, killed, leftovers, moments, outcome, undisturbed
from ropewalk.data import demo_book

METHODS_AND_LENGTHS = (
    *("--method", "none", "--method", "yarn", "--method", "dynamic_ntk:step=32"),
    *(
        "--length",
        "48",
        "--length",
        "64",
        "--length",
        "96",
        "--windows",
        "2",
        "--tail-tokens",
        "16",
    ),
)
CELLS = 9
PRELOADED = ["ropewalk.api", "ropewalk.reporting.plots", "transformers.models.llama"]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """Of a small run: a whole book takes longer to read than all cells to measure."""
    text = tmp_path_factory.mktemp("texts") / "text.txt"
    text.write_text(demo_book().read_text("utf-8")[20_000:40_000], "utf-8")
    return [*METHODS_AND_LENGTHS, "--text", str(text)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, arguments):
    """(outcome of an undisturbed run, seconds that a cell takes)."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # read by the server of which all children are forks
        killing.CHILDREN.set_forkserver_preload(PRELOADED)
        seconds = undisturbed(arguments, folder)
    assert len(finished(folder)) == CELLS
    return outcome(folder), seconds / (CELLS - 1)


def test_a_killed_run_arrives_where_an_undisturbed_one_does(arguments, whole, tmp_path):
    expected, cell_seconds = whole
    cells = tmp_path / "cells"
    cells.mkdir()
    cut_short = cells / f".{'0' * 64}.json.{'1' * 32}.partial"
    cut_short.write_text('{"key": "none at 48", "record": {"sta', "utf-8")
    struck = killed(arguments, tmp_path, moments(2, CELLS, cell_seconds, seed=3))
    assert struck == sorted(struck)
    assert struck
    assert outcome(tmp_path) == expected
    assert cut_short in leftovers(tmp_path)
    assert len(finished(tmp_path)) == CELLS
    for file in finished(tmp_path):
        assert re.fullmatch("[0-9a-f]{64}[.]json", file.name)
        assert json.loads(file.read_text("utf-8"))["record"]["status"] == "ok"


def test_moments_are_random_and_spread_over_the_work():
    drawn = moments(10, CELLS, 2.0, seed=0)
    assert drawn == moments(10, CELLS, 2.0, seed=0) != moments(10, CELLS, 2.0, seed=1)
    assert [each.cells for each in drawn] == sorted(each.cells for each in drawn)
    assert {each.cells for each in drawn} <= set(range(CELLS))
    assert all(0 <= each.seconds < 2.0 for each in drawn)
    assert len({each.cells for each in drawn}) > 4
