"""The example notebooks run, and their committed outputs are what they give."""

import io
import json
import re
from contextlib import redirect_stdout

import matplotlib as mpl
import pytest

from places import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
NUMBER = re.compile(r"\d+\.\d+")


def code_cells(notebook):
    return [c for c in json.loads(notebook.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]


def printed(cell):
    return "".join("".join(out["text"]) for out in cell["outputs"] if "text" in out)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_the_outputs_of_one_run(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {out["output_type"] for cell in cells for out in cell["outputs"]}
    assert kinds == {"stream", "display_data"}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_the_numbers_that_are_committed(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    with mpl.rc_context(), redirect_stdout(io.StringIO()) as out:
        mpl.use("agg")
        for cell in code_cells(notebook):
            exec("".join(cell["source"]), names)
    # Another kernel or library rounds otherwise; a perplexity keeps three digits.
    expected = [
        float(number) for cell in code_cells(notebook) for number in NUMBER.findall(printed(cell))
    ]
    found = [float(number) for number in NUMBER.findall(out.getvalue())]
    assert expected
    assert found == pytest.approx(expected, rel=1e-3)
