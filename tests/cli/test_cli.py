"""The command line as a whole: help, wrong usage, errors in one line."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import one_error

import ropewalk
from ropewalk.cli.main import main
from ropewalk.cli.options import SPEC_EXAMPLES, read_length
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry


def in_process(*arguments: str, **environment: str) -> tuple[int, str, str, float]:
    """Exit status, standard output, standard error and seconds of a real command."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "ropewalk", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - started


def raiser(error: BaseException) -> Any:
    """A function of any arguments that raises ``error``."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


# The whole.


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in ("compare", "inspect", "generate"))


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    expected = capsys.readouterr().out
    assert main([]) == 0
    assert capsys.readouterr().out == expected


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ropewalk {ropewalk.__version__}\n"


@pytest.mark.parametrize("command", ["compare", "inspect", "generate"])
def test_help_of_a_command_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\n    ropewalk {command}" in text
    assert "--json" in text


@pytest.mark.parametrize("spec", SPEC_EXAMPLES)
def test_the_specs_in_the_help_are_real(spec: str) -> None:
    geometry = RopeGeometry(head_dim=64, rope_theta=1e4, trained_length=2048)
    assert ropewalk.encoding(spec, geometry).geometry == geometry


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["compre"], "No such command 'compre'"),
        (["compare", "--lenght", "64"], "No such option"),
        (["compare", "--protocol", "tale"], "tale"),
        (["compare", "--dtype", "float8"], "float8"),
        (["compare", "--windows", "0"], "--windows"),
        (["compare", "--windows", "many"], "--windows"),
        (["inspect"], "Missing argument"),
        (["generate", "m", "--prompt", "a", "--max-new-tokens", "0"], "--max-new-tokens"),
        (["generate", "m", "--prompt", "a", "--temperature", "-1"], "--temperature"),
        (["compare", "a", "b"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    line = one_error(capsys)
    assert expected in line
    assert "--help" in line


def test_an_error_of_several_lines_becomes_one(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(RopewalkError("given\n  expected;\nremedy")))
    assert main(["inspect", config]) == 2
    assert one_error(capsys) == "error: given expected; remedy"


def test_an_interrupt_says_how_to_go_on(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(KeyboardInterrupt()))
    assert main(["inspect", config]) == 130
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("interrupted: a run folder keeps its finished cells")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "cells/a"), "cells/a: the disk is full"),
        (OSError(errno.EACCES, "Permission denied", "cells/a"), "cells/a: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    config: str,
    error: OSError,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(error))
    assert main(["inspect", config]) == 2
    assert expected in one_error(capsys)


def test_a_defect_of_ours_is_not_dressed_up_as_bad_input(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ropewalk.api.inspect", raiser(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["inspect", config])


def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ropewalk", "compare", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""


# Bad input, in a process of its own.


@pytest.mark.parametrize("command", [["inspect"], ["compare"], ["generate", "--prompt=a"]])
@pytest.mark.parametrize("source", ["./nothing", "a/b/c", "nothing.gguf", "two words"])
def test_a_source_that_is_none_is_answered_at_once(command: list[str], source: str) -> None:
    status, output, error, seconds = in_process(*command, source)
    assert (status, output) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert source in error
    assert seconds < 3


@pytest.mark.slow
def test_offline_a_hub_id_is_answered_in_one_line(tmp_path: Path) -> None:
    status, output, error, _ = in_process(
        "generate", "someone/model", "--prompt=a", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)
    )
    assert (status, output) == (2, "")
    assert error.startswith("error: someone/model: no such folder, not in the local hub cache")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_broken_config_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{")
    status, output, error, _ = in_process("generate", str(tmp_path), "--prompt=a")
    assert (status, output) == (2, "")
    assert error.startswith(f"error: {path}: not JSON")
    assert error.count("\n") == 1


# Lengths.


@pytest.mark.parametrize(
    ("text", "expected"), [("256", 256), ("2", 2), ("2x", "2x"), ("0.5x", "0.5x"), ("10x", "10x")]
)
def test_lengths_are_tokens_or_multiples(text: str, expected: int | str) -> None:
    assert read_length(text) == expected


@pytest.mark.parametrize("text", ["0", "1", "-5", "1.5", "x", "2y", "", "1e3", "٣", "2x2", " 64"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(RopewalkError, match="--length"):
        read_length(text)
