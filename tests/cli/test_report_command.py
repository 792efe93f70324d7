"""``ropewalk report`` from the command line."""

import json

import pytest

from reporting.run_folders import usual, write_run
from ropewalk.cli.main import main


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", usual())


def test_without_out_the_page_lies_in_the_run_folder(run, capsys):
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_the_ending_of_out_names_the_format(run, tmp_path, capsys):
    out = [str(tmp_path / name) for name in ("a.html", "b.md")]
    assert main(["report", str(run), str(run), "--out", out[0], "--out", out[1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": [str(run)] * 2, "files": out}
    assert not (run / "report.html").exists()


def test_markdown_goes_to_standard_output_alone(run, capsys):
    assert main(["report", str(run), "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("## Context length: tiny\n")
    assert not (run / "report.html").exists()


def test_results_of_the_harness_are_a_file_for_each_method(run, tmp_path, capsys):
    assert main(["report", str(run), "--lm-eval", str(tmp_path / "out")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "error: nowhere: no such folder"),
        (["RUN", "--out", "x.pdf"], "error: --out x.pdf: expected a name that ends in .html"),
        (["RUN", "--markdown", "--json"], "error: --markdown with --json"),
    ],
)
def test_bad_input_is_one_line(run, capsys, arguments, told):
    assert main(["report", *(str(run) if each == "RUN" else each for each in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(told)
    assert error.count("\n") == 1
