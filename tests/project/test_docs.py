"""The documentation says what the code does: names, parameters, flags, links and examples."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import ropewalk as rw
from places import ROOT
from recipes.families.sharpened import tiny, token_ids
from ropewalk.cli.main import app
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.cells import Cell
from ropewalk.evaluation.request import length_in_tokens, read_mode
from ropewalk.methods.policies import Policy
from ropewalk.methods.spec import NAMES, Part, parse_spec

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "recipes/**/README.md", "src/ropewalk/data/**/README.md")
    for page in ROOT.glob(pattern)
)
PICTURES = ROOT / "docs" / "images"
RUN_MARK = "<!-- run -->"
SHELL_WORDS = ("&&", "||", "|", ">", ";")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code; ``line`` is that of its first line of code."""

    page: Path
    line: int
    language: str
    code: str
    runs: bool

    @property
    def name(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page):
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        before = text[: found.start()]
        yield Block(
            page=page,
            line=before.count("\n") + 2,
            language=found[2],
            code=re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE),
            runs=before.rstrip().endswith(RUN_MARK),
        )


BLOCKS = [block for page in PAGES for block in blocks(page)]


def blocks_of(language):
    chosen = [block for block in BLOCKS if block.language == language]
    return [pytest.param(block, id=block.name) for block in chosen]


def prose(page):
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def document(name):
    return (ROOT / name).read_text("utf-8")


def section(text, title, level=2):
    """What stands under a heading, up to the next of its level or above."""
    marks = "#" * level
    found = re.search(
        rf"^{marks} {re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"no section {title}"
    return found[1]


def spans(text):
    """Inline code."""
    return re.findall(r"`([^`\n]+)`", text)


def rows(text):
    """Cells of the rows of all tables, their heads among them."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# Methods.


def written(parameter):
    """A default as the tables spell it."""
    if parameter.required:
        return "required"
    if parameter.default is None or isinstance(parameter.default, bool):
        return str(parameter.default).lower()
    return f"{parameter.default:g}" if parameter.kind in (int, float) else parameter.default


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_a_section_with_its_parameters_and_defaults(name):
    text = section(document("docs/methods.md"), name)
    stated = {cells[0].strip("`"): cells[1] for cells in rows(text) if cells[0].startswith("`")}
    assert stated == {p.name: written(p) for p in Part(name=name).parameters.values()}
    for label in ("**When:**", "**Source:**", "**Deviation:**"):
        assert label in text


def test_the_methods_page_knows_no_other_method():
    titles = re.findall(r"^## (.+)$", document("docs/methods.md"), re.MULTILINE)
    assert sorted(titles) == sorted(NAMES)


@pytest.mark.parametrize("name", rw.METHODS)
def test_the_function_of_every_method_is_on_the_api_page(name):
    assert f"::: {rw.METHODS[name].build.__module__}\n" in document("docs/api-methods.md")


def test_every_length_policy_is_explained():
    table = rows(section(document("docs/concepts.md"), "Length policies"))
    explained = [spans(cells[0])[0] for cells in table if cells[0].startswith("`")]
    assert sorted(explained) == sorted(get_args(Policy))


# Names and fields.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_public_names_on_a_page_exist(page):
    named = set(re.findall(r"\brw\.(\w+)", page.read_text("utf-8")))
    assert named <= set(rw.__all__)


def test_every_field_of_a_cell_is_explained():
    cell = Cell(method=parse_spec("none"), split=FullPass(), length=8)
    table = rows(section(document("docs/measuring.md"), "The JSON document"))
    explained = {name for cells in table for name in spans(cells[0])}
    assert explained >= set(cell.record({}))


def test_every_field_of_an_inspection_is_explained():
    config = {"head_dim": 16, "rope_theta": 1e4, "max_position_embeddings": 32}
    found = rw.inspect(config)
    explained = set(spans(section(document("docs/command-line.md"), "inspect")))
    assert explained >= {*found, *found["pairs"][0]}


def test_every_field_of_a_description_is_explained(model):
    with rw.extend(model, "none") as extension:
        found = extension.describe()
    explained = {
        name for cells in rows(document("docs/transformers.md")) for name in spans(cells[0])
    }
    assert explained >= set(found)


@pytest.mark.parametrize("page", ["README.md", "DESIGN.md"])
def test_the_tree_names_every_room(page):
    tree = next(b.code for b in BLOCKS if b.page == ROOT / page and "src/ropewalk/" in b.code)
    named = re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)
    there = [path.parent.name for path in (ROOT / "src" / "ropewalk").glob("*/__init__.py")]
    assert sorted(named) == sorted(there)


# Commands.


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


# Python.


@pytest.fixture(scope="module")
def model():
    import torch

    return tiny(dtype=torch.float32)


def compiled(block):
    """The code of a block, with the line numbers of its page."""
    padding = "\n" * (block.line - 1)
    return compile(padding + block.code, str(block.page), "exec")


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


# Links and mathematics.


def links(page):
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page):
    """The names that a code host gives to headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.parent != PICTURES:
            assert target.is_relative_to(ROOT), link
            assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_pictures_are_there_as_soon_as_any_is():
    """Pictures are made by a measured run: none is shown that another run left out."""
    made = {path for path in PICTURES.iterdir() if path.suffix in (".png", ".svg")}
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in links(page)
        if link.endswith((".png", ".svg"))
    }
    assert {path.parent for path in shown} == {PICTURES}
    assert not made or shown <= made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_mathematics_survives_markdown(page):
    """A backslash before punctuation is eaten by some renderers, and dollars come in pairs."""
    text = re.sub(r"`[^`\n]+`", "", prose(page))
    displayed = re.findall(r"\$\$(.*?)\$\$", text, re.DOTALL)
    rest = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    inline = [part for line in rest.splitlines() for part in line.split("$")[1::2]]
    assert all(line.count("$") % 2 == 0 for line in rest.splitlines())
    for formula in (*displayed, *inline):
        assert not re.search(r"\\[^A-Za-z ]", formula), formula
