"""``ropewalk audit`` and the page that shows it."""

import json

import pytest

import ropewalk as rw
from places import ROOT
from recipes.audit import page as audit_page
from recipes.pages import filled
from ropewalk.cli.main import main
from ropewalk.engines.findings.files import FILE_FINDINGS
from ropewalk.engines.findings.readers import READER_FINDINGS
from ropewalk.engines.findings.table import FINDINGS

CONFIGS = ROOT / "recipes" / "audit" / "configs"
INTERNLM3 = str(CONFIGS / "internlm3.json")
DEEPSEEK_V3 = str(CONFIGS / "deepseek_v3.json")


def test_json_is_the_document_of_the_python_function(capsys):
    assert main(["audit", INTERNLM3, "--length", "65536", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == rw.audit(INTERNLM3, 65536)
    assert list(printed["engines"]) == ["transformers", "vllm", "sglang", "llama.cpp"]
    fields = ("id", "severity", "engines", "message", "remedy")
    assert all(tuple(finding) == fields for finding in printed["findings"])


def test_a_length_may_be_a_multiple_of_the_trained_length(capsys):
    assert main(["audit", INTERNLM3, "--length", "2x", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rw.audit(INTERNLM3, 65536)


def test_strict_fails_on_an_error_alone(capsys):
    assert main(["audit", INTERNLM3, "--strict"]) == 1
    assert main(["audit", DEEPSEEK_V3, "--strict"]) == 0
    assert main(["audit", INTERNLM3]) == 0
    assert capsys.readouterr().err == ""


def test_a_table_of_engines_and_the_findings_in_order(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # as wide as it needs to be
    assert main(["audit", INTERNLM3]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert "up to 96.8 % off" in rows["sglang"]  # 1 - 31^-1: the slowest pair
    assert "196,608" in rows["vllm"]
    shown = [line.split()[1] for line in lines if line.startswith(("error ", "warning ", "info "))]
    document = rw.audit(INTERNLM3)
    of_readers = [each for reader in document["readers"].values() for each in reader["findings"]]
    assert shown == [finding["id"] for finding in (*document["findings"], *of_readers)]
    assert lines[-1] == (
        "findings: error 5, warning 1, info 3; of ollama and mlx-lm: error 0, warning 2, info 0"
    )


def test_a_model_that_rotates_nothing_says_why(capsys):
    assert main(["audit", str(CONFIGS / "kimi_linear.json")]) == 0
    assert "nothing rotates: kimi_linear" in capsys.readouterr().out


def test_an_error_of_an_engine_is_shown(capsys):
    assert main(["audit", str(CONFIGS / "nomic_v1_5.json"), "--length", "512"]) == 0
    assert "vllm fails: not a rotation: cos^2+sin^2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-config.json"],
        [INTERNLM3, "--length", "1"],
        [INTERNLM3, "--length", "many"],
        [INTERNLM3, "--layer-type", "other"],
        [INTERNLM3, "--length", "9999999999999999"],
    ],
)
def test_bad_input_is_one_line(arguments, capsys):
    assert main(["audit", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


def test_a_config_without_rope_is_one_line(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text('{"rope_scaling": {"factor": 4.0}, "max_position_embeddings": 64}')
    assert main(["audit", str(file)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_page_shows_what_the_command_prints():
    ((page, texts),) = audit_page.blocks().items()
    written = page.read_text("utf-8")
    assert filled(written, texts) == written, "run python -m recipes.pages audit"


def test_the_page_explains_every_kind_of_finding_once():
    text = (ROOT / "docs" / "audit.md").read_text("utf-8")
    _, _, table = text.partition("<!-- findings -->")
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == [
        kind.id
        for kind in sorted(
            (*FINDINGS.values(), *FILE_FINDINGS, *READER_FINDINGS), key=lambda kind: kind.severity
        )
    ]
