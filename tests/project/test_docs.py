"""The documentation is true: methods, names, fields and links."""

import re
from typing import get_args

import pytest
from pages import PAGES, blocks, document, prose, rows, section, spans

import ropewalk as rw
from places import ROOT
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.cells import Cell
from ropewalk.methods.policies import Policy
from ropewalk.methods.spec import NAMES, Part, parse_spec

PICTURES = ROOT / "docs" / "images"


BLOCKS = [block for page in PAGES for block in blocks(page)]


def written(parameter):
    """A default as the tables spell it."""
    if parameter.required:
        return "required"
    if parameter.default is None or isinstance(parameter.default, bool):
        return str(parameter.default).lower()
    return f"{parameter.default:g}" if parameter.kind in (int, float) else parameter.default


# Methods.


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


def links(page):
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page):
    """The names that a code host gives to headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# Links and mathematics.


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
