"""What the documentation shows to be typed or run is understood."""

import json
import re
import shlex

import pytest
from pages import PAGES, RUN_MARK, blocks, document, prose, rows, section, spans
from typer.core import TyperGroup
from typer.main import get_command

import ropewalk as rw
from places import ROOT
from recipes.families.sharpened import token_ids
from ropewalk.cli.main import app
from ropewalk.evaluation.request import length_in_tokens, read_mode
from ropewalk.methods.spec import NAMES, parse_spec

SHELL_WORDS = ("&&", "||", "|", ">", ";")


BLOCKS = [block for page in PAGES for block in blocks(page)]


def blocks_of(language):
    chosen = [block for block in BLOCKS if block.language == language]
    return [pytest.param(block, id=block.name) for block in chosen]


def leaves(group, path=()):
    """Every command by its full name, those of groups among them."""
    for name, command in group.commands.items():
        full = (*path, name)
        if isinstance(command, TyperGroup):
            yield from leaves(command, full)
        else:
            yield " ".join(full), command


COMMANDS = dict(leaves(get_command(app)))


def flags(command):
    return {flag for p in command.params for flag in p.opts if flag.startswith("--")}


# Commands.


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_a_command_is_in_its_table(name):
    table = rows(section(document("docs/command-line.md"), name))
    explained = {spans(cells[0])[0].split()[0] for cells in table if cells[0].startswith("`--")}
    assert explained == flags(COMMANDS[name])


def shell_commands(line):
    """The words of each command of a line of shell."""
    words = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in SHELL_WORDS:
            yield words
            words = []
        else:
            words.append(word)


def shown_commands():
    """(where, words) of every ``ropewalk COMMAND ...`` in blocks of shell and in inline code."""
    lines = [
        (block.name, line)
        for block in BLOCKS
        if block.language == "bash"
        for line in block.code.replace("\\\n", " ").splitlines()
    ]
    lines += [
        (str(page.relative_to(ROOT)), span)
        for page in PAGES
        for span in spans(prose(page))
        if re.match(r"ropewalk [a-z]", span) and not span.endswith("COMMAND")
    ]
    for where, line in lines:
        for words in shell_commands(line):
            if words[:1] == ["ropewalk"]:
                yield pytest.param(words[1:], id=f"{where} {line}")


@pytest.mark.parametrize("words", list(shown_commands()))
def test_a_shown_command_is_understood(words):
    name = next(name for name in COMMANDS if words[: len(name.split())] == name.split())
    arguments = words[len(name.split()) :]
    bare = set(arguments) <= {"--json", "--dry-run"}
    command = COMMANDS[name]
    required = [p.opts[0] for p in command.params if p.required] if bare else []
    given = [word for p in required for word in ([p, "x"] if p.startswith("--") else ["x"])]
    values = command.make_context(name, [*arguments, *given]).params
    methods = values.get("method") or ()
    for spec in [methods] if isinstance(methods, str) else methods:
        parse_spec(spec)
    lengths = values.get("length") or ()
    for length in [lengths] if isinstance(lengths, str | int) else lengths:
        length_in_tokens(length, 256)
    for mode in values.get("mode") or ():
        read_mode(mode)


def test_a_flag_that_does_not_exist_would_be_noticed():
    with pytest.raises(Exception, match="No such option: --methods"):
        COMMANDS["compare"].make_context("compare", ["--methods", "yarn"])


def shown_specs():
    names = "|".join(NAMES)
    pattern = re.compile(rf"({names})(:\w+=|\+({names})).*")
    return sorted({s for page in PAGES for s in spans(prose(page)) if pattern.fullmatch(s)})


@pytest.mark.parametrize("spec", shown_specs())
def test_a_shown_spec_is_understood(spec, tmp_path, monkeypatch):
    for name in ("short.json", "long.json"):
        (tmp_path / name).write_text(json.dumps([1.0] * 32))
    monkeypatch.chdir(tmp_path)
    assert parse_spec(spec).parts


def test_the_two_commands_of_a_fresh_environment_are_there():
    shown = [block.code for block in BLOCKS if block.page == ROOT / "README.md"]
    assert "pip install -c constraints.txt . && ropewalk compare\n" in shown
    assert 'pip install -c constraints.txt -e ".[test]" && pytest\n' in shown


def test_the_checks_of_the_build_are_those_that_contributors_are_told():
    _, _, checks = document(".ci/run").partition("pytest\n")
    told = document("CONTRIBUTING.md")
    for check in checks.split("\n"):
        assert check in told.splitlines()


@pytest.mark.parametrize("block", blocks_of("bash"))
def test_a_shown_script_exists(block):
    for line in block.code.splitlines():
        for words in shell_commands(line):
            if words[:2] == ["python", "-m"]:
                assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file()
            elif words[:1] == ["python"]:
                assert (ROOT / words[1]).is_file()


def compiled(block):
    """The code of a block, with the line numbers of its page."""
    padding = "\n" * (block.line - 1)
    return compile(padding + block.code, str(block.page), "exec")


# Python.


@pytest.mark.parametrize("block", blocks_of("python"))
def test_a_block_of_python_compiles(block):
    compiled(block)


@pytest.mark.parametrize("block", [p for p in blocks_of("python") if p.values[0].runs])
def test_a_marked_block_of_python_runs(block, model, tmp_path, monkeypatch):
    assert "assert" in block.code, "a block that cannot fail shows nothing"
    monkeypatch.chdir(tmp_path)
    exec(compiled(block), {"rw": rw, "model": model, "ids": token_ids(1, 40)})


def test_only_blocks_of_python_are_marked_to_run():
    marks = sum(page.read_text("utf-8").count(RUN_MARK) for page in PAGES)
    assert marks == sum(block.runs and block.language == "python" for block in BLOCKS)
