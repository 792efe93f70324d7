"""Run folders of several machines become one, or it is said in what they differ."""

import json
import shutil

import pytest

import ropewalk as rw
from ropewalk.api import compare
from ropewalk.cli.main import main
from ropewalk.cluster.merging import merge
from ropewalk.data import demo_model

REQUEST = {"tail_tokens": 32, "windows": 1}


def ran(folder, methods, **request):
    compare(str(demo_model()), out=folder, methods=methods, **{**REQUEST, **request})
    return folder


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    place = tmp_path_factory.mktemp("halves")
    lengths = {"lengths": [64, 96]}
    first = ran(place / "first", ["none", "linear:factor=2"], **lengths)
    second = ran(place / "second", ["none", "yarn:factor=2"], **lengths)
    return first, second


def named(document):
    return {(cell["method"], cell["length"]): cell["nll"] for cell in document["cells"]}


def test_the_whole_holds_every_cell_and_goes_on(halves, tmp_path):
    """Cells of a merged folder are not measured again."""
    documents = [json.loads((each / "results.json").read_text()) for each in halves]
    whole = merge(halves, tmp_path / "whole")
    assert named(whole) == {**named(documents[1]), **named(documents[0])}
    assert json.loads((tmp_path / "whole" / "results.json").read_text()) == whole
    before = {
        file.name: file.stat().st_mtime_ns for file in (tmp_path / "whole" / "cells").iterdir()
    }
    methods = ["none", "linear:factor=2", "yarn:factor=2"]
    again = ran(tmp_path / "whole", methods, lengths=[64, 96])
    after = {file.name: file.stat().st_mtime_ns for file in (again / "cells").iterdir()}
    assert after == before
    assert len(json.loads((again / "results.json").read_text())["differences"]) == 4


def test_into_the_first(halves, tmp_path, capsys):
    first = shutil.copytree(halves[0], tmp_path / "first")
    assert main(["merge", str(first), str(halves[1])]) == 0
    assert capsys.readouterr().out == f"{first}: 6 of 6 cells, of 2 folders\n"
    assert len(list((first / "cells").iterdir())) == 6


def test_a_cell_that_ran_stands_before_one_that_did_not(halves, tmp_path):
    first = shutil.copytree(halves[0], tmp_path / "first")
    document = json.loads((first / "results.json").read_text())
    failed = {**document["cells"][0], "nll": None, "status": "failed", "reason": "no memory"}
    document["cells"][0] = failed
    (first / "results.json").write_text(json.dumps(document))
    whole = merge([first, halves[1]], tmp_path / "whole")
    assert all(cell["status"] == "ok" for cell in whole["cells"])


def test_another_setting_is_refused_by_name(halves, tmp_path, capsys):
    other = ran(tmp_path / "other", ["none"], lengths=[64], tail_tokens=16)
    assert main(["merge", str(halves[0]), str(other)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {other} was made with ")
    assert error.count("\n") == 1
    assert "expected folders of one setting" in error


@pytest.mark.parametrize("broken", ["empty", "same"])
def test_what_cannot_be_merged_is_refused(halves, tmp_path, broken):
    (tmp_path / "empty").mkdir()
    second = tmp_path / "empty" if broken == "empty" else halves[0]
    with pytest.raises(rw.RopewalkError, match=r"run\.json|two different"):
        merge([halves[0], second], tmp_path / "whole")
