"""The command verify: its document, its table, and figures kept at once."""

import json

import pytest
import torch
from verified_models import DYNAMIC, LENGTH, Heard, small

import ropewalk as rw
from recipes.families.sharpened import L0
from ropewalk.api.verification import verify_checkpoint
from ropewalk.cli.main import main
from ropewalk.integrations.methods import TransformersMethods
from ropewalk.verification.checks import (
    CHECKS,
)
from ropewalk.verification.gap import Gap
from ropewalk.verification.listening import Silent
from ropewalk.verification.verdicts import Tolerances

IDS, INF = torch.tensor([5]), float("inf")


@pytest.fixture(scope="module")
def dynamic_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "dynamic"
    small(dtype=torch.float32, **DYNAMIC).save_pretrained(path)
    return str(path)


# The command.


def test_the_document(folder, capsys):
    assert main(["verify", folder, "--method", "dynamic_ntk", "--json"]) == 0
    output, error = capsys.readouterr()
    document = json.loads(output)
    assert error == ""
    records = document.pop("records")
    layout = document.pop("layout")
    assert document == {
        "model": "tiny",
        "family": "llama",
        "trained_length": L0,
        "length": LENGTH,
        "dtype": "float32",
        "device": "cpu",
        "passed": True,
    }
    assert layout["layers"] == 2
    assert [record["check"] for record in records] == list(CHECKS)
    assert set(records[0]) == {
        "method",
        "check",
        "status",
        "max_logit_difference",
        "max_total_variation",
        "tolerance",
        "sentence",
        "rounding",
    }


def test_the_table(folder, capsys):
    specs = ["none", "dynamic_ntk:policy=at_birth"]
    assert main(["verify", folder, *(f"--method={spec}" for spec in specs)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["method", *CHECKS, "rounding", "share"] in lines
    rows = {line[0]: line for line in lines if line}
    assert rows["none"][-1] == "ok"
    assert 0 <= int(rows["none"][-2].removesuffix("%")) < 100
    assert rows[specs[1]][-4] == ">10000%"
    assert " ".join(rows[specs[1]][-3:]) == "differs, as declared"
    assert float(rows[specs[1]][2]) > 1e-2
    assert " ".join(rows["Of"]) == (
        "Of 2: one result, however tokens are fed: 1; differ, as declared: 1."
    )


def test_the_library_fails_and_ours_passes_on_the_same_model(dynamic_folder, capsys):
    assert main(["verify", dynamic_folder, "--stock"]) == 1
    output = capsys.readouterr().out
    assert "stock, decode: 48 tokens one by one: logits differ" in output
    assert "failed: chunked, decode, padded, history" in output
    assert main(["verify", dynamic_folder, "--method=native", "--method=dynamic_ntk"]) == 0
    assert "differs, as declared" in capsys.readouterr().out


def test_a_length_within_the_trained_one_is_said(folder, capsys):
    assert main(["verify", folder, "--method", "none", "--length", "0.75x"]) == 0
    assert "Nothing beyond the trained length was checked." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["./nothing"], "no such file or folder"),
        (["--stock", "--method", "yarn"], "stock has no methods"),
        (["--length", "many"], "expected tokens or a multiple"),
        (["--dtype", "float8"], "float8"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, capsys):
    assert main(["verify", *arguments]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_dtype_is_taken_by_its_name(folder):
    assert verify_checkpoint(folder, methods=["none"], dtype="float64")["dtype"] == "float64"
    with pytest.raises(rw.RopewalkError, match="dtype float8"):
        verify_checkpoint(folder, methods=["none"], dtype="float8")


def test_progress_names_the_work_and_never_goes_back():
    told = []
    rw.verify(
        small(num_hidden_layers=1),
        ["none", "yarn"],
        listener=Heard(lambda work, share: told.append((work, share))),
    )
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 11 / 12)
    assert told[-1][0] == "yarn, history"


class Stopped(Exception):
    """As by an interrupt."""


class StopAfterOne(Silent):
    def finished(self, records):
        raise Stopped


def measured_methods(monkeypatch):
    """The methods that are put into a model from now on."""
    seen, applied = [], TransformersMethods.applied
    monkeypatch.setattr(
        TransformersMethods,
        "applied",
        lambda self, spec, **given: (seen.append(spec.text), applied(self, spec, **given))[1],
    )
    return seen


METHODS = ["yarn", "dynamic_ntk:policy=at_birth", "rerope"]


# What is measured is shown and kept at once.


def test_a_run_that_was_stopped_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    undisturbed = verify_checkpoint(folder, methods=METHODS)
    seen = measured_methods(monkeypatch)
    with pytest.raises(Stopped):
        verify_checkpoint(folder, methods=METHODS, out=tmp_path, listener=StopAfterOne())
    assert seen == METHODS[:1]
    seen.clear()
    resumed = verify_checkpoint(folder, methods=METHODS, out=tmp_path)
    assert seen == METHODS[1:]
    assert resumed == undisturbed
    seen.clear()
    spelled = ["yarn:beta_fast=32", *METHODS[1:]]
    again = verify_checkpoint(folder, methods=spelled, out=tmp_path)
    assert seen == []
    assert again["records"][0] == {**undisturbed["records"][0], "method": spelled[0]}
    assert again["records"][4:] == undisturbed["records"][4:]


@pytest.mark.parametrize("change", [{"length": 50}, {"dtype": "float64"}, {"weights": True}])
def test_a_run_folder_is_of_one_model_and_one_setting(folder, dynamic_folder, tmp_path, change):
    verify_checkpoint(folder, methods=["none"], out=tmp_path)
    other = dynamic_folder if change.pop("weights", False) else folder
    with pytest.raises(rw.RopewalkError, match="give another folder"):
        verify_checkpoint(other, methods=["none"], out=tmp_path, **change)


def test_what_could_not_run_or_is_no_number_is_tried_again(folder, tmp_path, monkeypatch):
    def refuse(self, spec, **given):
        raise rw.RopewalkError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(TransformersMethods, "applied", refuse)
        with pytest.raises(rw.RopewalkError, match="not now"):
            verify_checkpoint(folder, methods=["yarn"], out=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Gap, "max_logit_difference", property(lambda self: INF))
        patch.setattr(
            Tolerances,
            "of",
            lambda *given: Tolerances(
                by_check=dict.fromkeys(CHECKS, 1.0), rounding=1.0, trained_length=L0
            ),
        )
        found = verify_checkpoint(folder, methods=["yarn"], out=tmp_path / "infinite")
    assert found["records"][0]["max_logit_difference"] == INF
    for out in (tmp_path, tmp_path / "infinite"):
        found = verify_checkpoint(folder, methods=["yarn"], out=out)
        assert {record["status"] for record in found["records"]} == {"ok"}


def test_lines_are_printed_as_they_are_measured(folder, monkeypatch, capsys):
    shown, applied = [], TransformersMethods.applied

    def look(self, spec, **given):
        shown.append(capsys.readouterr().out)
        return applied(self, spec, **given)

    monkeypatch.setattr(TransformersMethods, "applied", look)
    assert main(["verify", folder, "--method", "yarn", "--method", "dynamic_ntk"]) == 0
    before, between = shown
    assert before.startswith("tiny: largest difference of a logit")
    header, yarn = between.splitlines()
    assert header.split() == ["method", *CHECKS, "rounding", "share"]
    assert yarn.split()[0] == "yarn"
    assert yarn.endswith("ok")
    assert capsys.readouterr().out.splitlines()[0].split()[0] == "dynamic_ntk"


def test_stock_keeps_nothing(tmp_path, capsys):
    assert main(["verify", "--stock", "--out", str(tmp_path)]) == 2
    assert "drop --out" in capsys.readouterr().err
