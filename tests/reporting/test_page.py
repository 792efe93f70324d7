"""The page: what it says, what it holds, and that nothing in it breaks out or reaches out."""

import base64
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import ropewalk as rw
from reporting.html_tree import Element, read
from reporting.run_folders import (
    DEPTHS,
    LENGTHS,
    behind,
    document,
    loss_cell,
    task_cell,
    usual,
    write_run,
)
from ropewalk.core.errors import RopewalkError

HOSTILE = "</script><script>alert(1)</script><!-- <b>&\"'"


def page_of(folder: Path, *contents: dict[str, Any]) -> Element:
    runs = [write_run(folder / f"run-{n}", content) for n, content in enumerate(contents)]
    return read(rw.report(runs, folder / "page.html").read_text("utf-8"))


def data_of(page: Element) -> dict[str, Any]:
    (script,) = (s for s in page.all("script") if s.attributes.get("type") == "application/json")
    found: dict[str, Any] = json.loads(script.text)
    return found


def test_the_answer_comes_first_with_ties_and_cost(tmp_path):
    (main,) = page_of(tmp_path, usual()).all("main")
    answer = next(each for each in main.every() if each.attributes.get("class") == "answer")
    first = next(each for each in main.every() if each.name in ("h3", "figure", "table"))
    assert any(each is first for each in answer.every())
    assert "best at 1,024 is rerope, 83.10 (not worse: dual_chunk)" in answer.text
    assert "dual_chunk and rerope" not in answer.text
    assert (
        "Task induction: rerope and dual_chunk retrieve at every depth up to 1,024" in answer.text
    )
    assert "plain RoPE (none) up to 256" in answer.text
    rows = [
        [cell.text for cell in row.children if not isinstance(cell, str)]
        for row in next(answer.all("tbody")).all("tr")
    ]
    assert [row[0] for row in rows] == ["rerope", "dual_chunk"]
    assert rows[0][2:4] == ["the lowest", "-0.010 [-0.060, +0.040]"]
    assert rows[1][2:4] == ["+0.010 [-0.040, +0.060]", "not measured"]


def test_nothing_lies_outside_the_page(tmp_path):
    page = page_of(tmp_path, usual(), usual())
    for element in page.every():
        for name in ("href", "src", "action", "data", "srcset", "xlink:href"):
            assert element.attributes.get(name, "#").startswith("#"), element
        assert element.name not in ("link", "iframe", "img", "object", "embed", "form", "base")
    text = (tmp_path / "page.html").read_text("utf-8")
    for reference in ("http:", "https:", "//", "url(", "@import"):
        assert reference not in text.replace("// ", ""), reference
    identifiers = {each.attributes["id"] for each in page.every() if "id" in each.attributes}
    targets = [e.attributes["href"][1:] for e in page.every() if "href" in e.attributes]
    assert set(targets) <= identifiers
    assert len([e for e in page.every() if "id" in e.attributes]) == len(identifiers)


def test_the_data_lie_in_the_page_without_the_way_to_them(tmp_path):
    content = usual()
    (run,) = data_of(page_of(tmp_path, content))["runs"]
    assert run["document"]["cells"] == content["cells"]
    assert run["config"] == {"rope_theta": 12345.0, "model_type": "llama"}
    assert run["origins"][0]["commit"] == "0123456789abcdef"
    assert "/home/someone" not in (tmp_path / "page.html").read_text("utf-8")


def test_no_text_breaks_out(tmp_path):
    cells = [loss_cell(HOSTILE, 256, 4.0), loss_cell("none", 256, 4.1), loss_cell("x", 512, None)]
    cells[2]["reason"] = HOSTILE
    content = document(
        *cells, task_cell(HOSTILE, 256, (1.0,) * DEPTHS, task=HOSTILE), model=HOSTILE
    )
    page = page_of(tmp_path, content)
    assert len(list(page.all("script"))) == 2
    assert not list(page.all("b"))
    assert data_of(page)["runs"][0]["document"]["cells"] == content["cells"]
    assert any(code.text == HOSTILE for code in page.all("code"))


def test_curves_lie_where_the_figures_are(tmp_path):
    page = page_of(tmp_path, usual())
    figure = next(page.all("figure"))
    names = [button.text for button in figure.all("button")]
    assert set(names) == {"none", "rerope", "dual_chunk"}  # alibi failed: it has no curve
    assert names[0] == "none"  # the legend has the order of the ends: the worst is on top
    curves = {
        g.attributes["data-curve"]: g for g in figure.all("g") if "data-curve" in g.attributes
    }
    marks = [float(use.attributes["y"]) for use in curves["0"].all("use")]
    nats = [cell["nll"] for cell in usual()["cells"] if cell["method"] == "none"][: len(LENGTHS)]
    scale = (marks[3] - marks[0]) / (nats[3] - nats[0])
    assert scale < 0  # a larger loss lies higher
    expected = [marks[0] + scale * (nat - nats[0]) for nat in nats]
    assert marks == pytest.approx(expected, abs=0.15)  # places are written to a tenth
    places = [float(use.attributes["x"]) for use in curves["0"].all("use")]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.15)  # doubled lengths, equal steps


def test_methods_near_the_best_are_drawn_once_more(tmp_path):
    titles = [each.text for each in page_of(tmp_path, usual()).all("figcaption")]
    assert [title.partition(" (")[0] for title in titles] == [
        "Perplexity by context length",
        "The same, enlarged: methods near the best",
        "Task induction by context length, mode full",
    ]


def test_heat_maps_hold_the_share_of_each_depth(tmp_path):
    content = document(
        task_cell("none", 256, (1.0, 0.75, 0.5, 0.25, 0.0)), task_cell("none", 512, (0.0,) * DEPTHS)
    )
    (table,) = (
        t for t in page_of(tmp_path, content).all("table") if t.attributes.get("class") == "heat"
    )
    rows = [[cell.text for cell in row.all("td")] for row in next(table.all("tbody")).all("tr")]
    assert rows == [
        ["100/50", "0/0"],
        ["75/38", "0/0"],
        ["50/25", "0/0"],
        ["25/12", "0/0"],
        ["0/0"] * 2,
    ]
    shades = [row.attributes["class"] for row in table.all("td")]
    assert shades[::2] == ["h10", "h8", "h5", "h2", "h0"]
    assert (
        next(row.text for row in table.all("th") if row.attributes["scope"] == "row") == "0% to 20%"
    )


def test_tables_can_be_sorted_and_read_aloud(tmp_path):
    page = page_of(tmp_path, usual())
    tables = [t for t in page.all("table") if t.attributes.get("class") == "sorts"]
    assert len(tables) == 2
    for table in tables:
        heads = list(next(table.all("thead")).all("th"))
        assert all(head.attributes["scope"] == "col" and list(head.all("button")) for head in heads)
    values = [
        float(cell.attributes["data-value"])
        for cell in next(tables[0].all("tbody")).all("td")
        if "data-value" in cell.attributes
    ]
    assert 5.6 in values
    starred = [
        row.all("th").__next__().text
        for row in next(tables[0].all("tbody")).all("tr")
        if "*" in list(row.all("td"))[-2].text
    ]
    assert starred == ["rerope", "dual_chunk"]


def test_failures_config_machine_and_commit_are_told(tmp_path):
    (main,) = page_of(tmp_path, usual()).all("main")
    assert "out of memory" in main.text
    assert "alibi, full, 1,024 (failed)" in main.text
    for told in ("0123456789abcdef", "A Processor, 2 cores", "8.0 GiB", "12345.0", "ab" * 32):
        assert told in main.text


def test_a_run_of_every_task_stays_under_a_megabyte(tmp_path):
    methods = [f"method_{n}:factor=8" for n in range(14)]
    cells = [
        task_cell(method, 256 * 2**n, tuple((n + d) / 10 for d in range(DEPTHS)), task=f"task_{t}")
        for t in range(25)
        for method in methods
        for n in range(5)
    ]
    content = document(*cells)
    page = page_of(tmp_path, content)
    assert (tmp_path / "page.html").stat().st_size < 1_000_000
    packed = gzip.decompress(base64.b64decode(data_of(page)["gzip"]))
    assert json.loads(packed)["runs"][0]["document"]["cells"] == cells


def test_a_page_that_would_be_larger_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ropewalk.reporting.page.render.LARGEST", 10_000)
    with pytest.raises(RopewalkError, match="expected less than 10,000; report fewer"):
        page_of(tmp_path, usual())
    assert not (tmp_path / "page.html").exists()


def test_a_run_without_loss_or_of_nothing_measured_has_a_page(tmp_path):
    for number, content in enumerate(
        (
            document(task_cell("none", 256, (0.0,) * DEPTHS)),
            document(loss_cell("none", 256, None)),
            document(loss_cell("none", 256, 3.0)),
        )
    ):
        text = page_of(tmp_path / str(number), content).text
        assert text
    assert (
        "no method retrieves at every depth"
        in page_of(tmp_path / "again", document(task_cell("none", 256, (0.0,) * DEPTHS))).text
    )


def test_a_tie_of_all_has_no_star(tmp_path):
    content = document(
        loss_cell("none", 512, 4.0),
        loss_cell("yarn", 512, 4.01),
        to_best=[behind("yarn", "none", 512, 0.01)],
    )
    (table,) = (
        t for t in page_of(tmp_path, content).all("table") if t.attributes.get("class") == "sorts"
    )
    assert [cell.text for cell in table.all("td")][::2] == [
        "54.60 [49.40, 60.34]",
        "55.15 [49.90, 60.95]",
    ]


def test_cells_of_another_model_say_so(tmp_path):
    cell = {**task_cell("none", 256, (1.0,) * DEPTHS), "model": "toy"}
    page = page_of(tmp_path, document(loss_cell("none", 256, 4.0), cell))
    assert "Task induction, mode full, of model toy" in [each.text for each in page.all("h3")]
    assert "Task induction (toy): plain RoPE (none) retrieves at every depth" in page.text
