"""Reports: what a reader sees of given records."""

import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.files import CSV_COLUMNS, write_csv, write_json
from ropewalk.reporting.markdown import markdown_table
from ropewalk.reporting.plots import draw_curves, write_curves
from ropewalk.reporting.table import comparison_table, perplexity_text
from ropewalk.reporting.takeaway import takeaway

LENGTHS = (128, 256, 1024, 2048)


def cell(method, length, ppl, mode="full", reason=None):
    """A record; without ``ppl`` a failed one."""
    nll = None if ppl is None else math.log(ppl)
    return {
        "method": method,
        "mode": mode,
        "length": length,
        "documents": None if ppl is None else 1,
        "tokens_scored": None if ppl is None else 1024,
        "nll": nll,
        "ppl": ppl,
        "bits_per_byte": None if ppl is None else 1.5,
        "ci95": None if nll is None else [nll - 0.1, nll + 0.1],
        "ci95_over": None if nll is None else "windows",
        "seconds": None if ppl is None else 0.25,
        "peak_memory_bytes": None,
        "status": "failed" if ppl is None else "ok",
        "reason": (reason or "out of memory") if ppl is None else None,
    }


def document(rows, lengths=LENGTHS, modes=("full",)):
    cells = [
        cell(method, length, ppl, mode)
        for mode in modes
        for method, ppls in rows.items()
        for length, ppl in zip(lengths, ppls, strict=True)
    ]
    return {
        "model": "demo",
        "trained_length": 256,
        "protocol": "tail:tokens=128,windows=8",
        "run_dir": "run",
        "cells": cells,
    }


ROWS = {
    "yarn:factor=8": (180.0, 181.0, 190.0, 195.0),
    "none": (180.0, 180.0, 250.0, 310.0),
    "linear:factor=8": (205.0, 204.0, 220.0, None),
}


def rendered(given, width=120):
    console = Console(width=width, file=io.StringIO(), no_color=True, highlight=False)
    console.print(comparison_table(given))
    return console.file.getvalue()


def row(text, method):
    (line,) = [line for line in text.splitlines() if line.strip().startswith(method)]
    return line.split()


def test_rows_are_methods_with_the_baseline_first_and_columns_are_lengths():
    shuffled = document(ROWS)
    shuffled["cells"].reverse()
    text = rendered(shuffled)
    assert row(text, "none") == ["none", "180.0*", "180.0*", "250.0", "310.0"]
    assert row(text, "yarn") == ["yarn:factor=8", "180.0*", "181.0", "190.0*", "195.0*"]
    assert row(text, "linear") == ["linear:factor=8", "205.0", "204.0", "220.0", "-¹"]
    assert text.index("none") < text.index("linear") < text.index("yarn")
    assert row(text, "method") == ["method", "128", "(trained)", "1,024", "2,048"]
    assert "¹ out of memory" in text


def test_the_best_is_marked_with_and_without_colour():
    console = Console(width=120, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(comparison_table(document(ROWS)))
    assert "\x1b[1;32m195.0*" in console.file.getvalue()
    assert "\x1b" not in rendered(document(ROWS))


def test_a_column_in_which_all_read_the_same_has_no_star():
    same = document({"none": (180.0001, 9.0), "yarn": (180.0002, 8.0)}, (256, 512))
    text = rendered(same)
    assert row(text, "none") == ["none", "180.0", "9.00"]
    assert row(text, "yarn") == ["yarn", "180.0", "8.00*"]
    assert "*" not in row(rendered(document({"none": (5.0,)}, (256,))), "none")


def test_equal_reasons_share_a_number_and_others_get_their_own():
    given = document({"m1": (1.5,), "m2": (None,), "m3": (None,), "m4": (None,)}, (512,))
    given["cells"][3]["reason"] = "length 512: text too short"
    text = rendered(given)
    assert [row(text, f"m{i}")[-1] for i in (1, 2, 3, 4)] == ["1.50", "-¹", "-¹", "-²"]
    assert "¹ out of memory" in text
    assert "² length 512: text too short" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_narrow_terminal_cuts_no_figure(width):
    lengths = tuple(1000 + 7 * n for n in range(12))
    ppls = tuple(1000.0 + n for n in range(12))
    given = document({"none": ppls, "longrope:" + "x" * 60: (*ppls[:11], None)}, lengths)
    text = rendered(given, width)
    assert all(len(line) <= width for line in text.splitlines())
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("none")]
    assert [figure for cells in rows for figure in cells[1:]] == [f"{ppl:,.0f}" for ppl in ppls]
    assert "-¹" in text
    assert (len(rows) == 1) == (width == 200)


def test_one_table_for_each_mode():
    text = rendered(document(ROWS, modes=("full", "decode", "chunked:64")))
    assert re.findall(r"mode (\S+)", text) == ["full", "decode", "chunked:64"]
    assert text.count("¹ out of memory") == 1
    assert "mode" not in rendered(document(ROWS))


def test_a_task_of_another_model_stands_behind_the_lengths():
    given = document({"none": (180.0, 310.0), "linear": (204.0, 220.0)}, lengths=(256, 1024))
    asked = {"task": "induction", "model": "toy", "mode": "full", "trials": 20, "length": 1024}
    given["cells"] += [
        {**cell("none", 1024, None), **asked, "value": 0.35, "status": "ok"},
        {**cell("linear", 1024, None), **asked, "value": None},
    ]
    text = rendered(given)
    assert row(text, "none") == ["none", "180.0*", "310.0", "35%"]
    assert row(text, "linear") == ["linear", "204.0", "220.0*", "-", "(failed)"]
    assert "bundled model toy" in text


def test_the_caption_names_what_was_scored():
    text = " ".join(rendered(document(ROWS)).split())
    assert "tail:tokens=128,windows=8: 1,024 tokens scored in each cell, 1 document" in text
    assert "Trained length 256" in text
    assert "step" not in text
    stepped = " ".join(rendered(document({"dynamic_ntk:step=32": (5.0,)}, (512,))).split())
    assert "step named in their text" in stepped


def test_markup_in_a_name_or_a_reason_is_shown_as_it_stands():
    given = document({"none": (None,), "longrope:short_factor=[red]": (4.0,)}, (512,))
    given["cells"][0]["reason"] = "got [red]x"
    text = rendered(given)
    assert "short_factor=[red]" in text
    assert "got [red]x" in text


def test_planned_cells_are_blank():
    given = document({"none": (None,)}, (512,))
    given["cells"][0].update(status="planned", reason=None)
    assert row(rendered(given), "none") == ["none"]


@pytest.mark.parametrize(
    ("ppl", "text"),
    [(6.5, "6.50"), (99.994, "99.99"), (178.84, "178.8"), (12345.6, "12,346"), (2.5e7, "2.5e+07")],
)
def test_perplexities_read_at_a_glance(ppl, text):
    assert perplexity_text(ppl) == text


@pytest.mark.parametrize("given", [{}, {"cells": []}, {"cells": [{"method": "none"}]}])
def test_what_is_no_comparison_is_refused(given):
    for report in (comparison_table, takeaway, draw_curves):
        with pytest.raises(RopewalkError, match="results document"):
            report({"model": "m", "trained_length": 8, "protocol": "tail", **given})


# Takeaway


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            ROWS,
            "Past the trained length of 256 plain RoPE (none) degrades (perplexity 180.0 at "
            "256, 310.0 at 2,048); best at 2,048 is yarn:factor=8, 195.0.",
        ),
        (
            {"none": (9.0, 9.0, 20.0, 30.0), "linear": (11.0, 12.0, 12.0, 13.0)},
            "Past the trained length of 256 plain RoPE (none) degrades (perplexity 9.00 at "
            "256, 30.00 at 2,048); best at 2,048 is linear, 13.00, at the cost of 9.00 -> 12.00 "
            "at 256.",
        ),
        (
            {"none": (9.0, 9.0, 20.0, 30.0), "linear": (9.0, 9.0, 20.0, 29.8)},
            "Past the trained length of 256 plain RoPE (none) degrades (perplexity 9.00 at "
            "256, 30.00 at 2,048); no method does noticeably better at 2,048 (best: linear, "
            "29.80).",
        ),
        (
            {"none": (9.0, 9.0, 8.0, 7.0), "linear": (9.0, 9.0, 9.0, 8.0)},
            "Past the trained length of 256 plain RoPE (none) keeps improving (perplexity "
            "9.00 at 256, 7.00 at 2,048); no method does noticeably better at 2,048 (best: "
            "linear, 8.00).",
        ),
        (
            {"none": (9.0, 9.0, 9.0, 9.1)},
            "Past the trained length of 256 plain RoPE (none) holds (perplexity 9.00 at 256, "
            "9.10 at 2,048); no other was compared.",
        ),
        (
            {"none": (9.0, 9.0, 9.0, None), "yarn": (9.0, 9.0, 8.0, 7.0)},
            "Past the trained length of 256 plain RoPE (none) could not be measured at "
            "2,048; best at 2,048 is yarn, 7.00.",
        ),
        (
            {"none": (9.0, 9.0, 9.0, 30.0), "yarn": (None, None, None, None)},
            "Past the trained length of 256 plain RoPE (none) degrades (perplexity 9.00 at "
            "256, 30.00 at 2,048); no other method could run at 2,048.",
        ),
        (
            {"linear": (9.0, 9.0, 9.0, 30.0), "yarn": (9.0, 9.0, 9.0, 10.0)},
            "Past the trained length of 256 linear degrades (perplexity 9.00 at 256, 30.00 at "
            "2,048); best at 2,048 is yarn, 10.00.",
        ),
        (
            {"none": (None, None, None, None), "yarn": (None, None, None, None)},
            "No cell could run: out of memory",
        ),
        (
            {"none": (9.0, 8.0, None, None), "yarn": (9.0, 7.0, None, None)},
            "No length past the trained length of 256 was measured, so this says nothing about "
            "longer contexts; yarn has the lowest perplexity at 256 (7.00).",
        ),
        (
            {"none": (9.0, 8.0, None, None), "yarn": (9.0, 8.0, None, None)},
            "No length past the trained length of 256 was measured, so this says nothing about "
            "longer contexts; all methods do the same at 256.",
        ),
    ],
)
def test_the_takeaway_says_what_the_figures_say(rows, sentence):
    assert takeaway(document(rows)) == sentence


def test_the_takeaway_of_a_single_length_past_the_trained_one_compares_methods_there():
    single = document({"none": (30.0,), "yarn": (10.0,)}, (1024,))
    assert takeaway(single) == (
        "Past the trained length of 256 plain RoPE (none) has perplexity 30.00 at 1,024 "
        "(nothing shorter to compare with); best at 1,024 is yarn, 10.00."
    )


# Pictures


def test_the_picture_shows_each_method_length_and_the_trained_length():
    figure = draw_curves(document(ROWS))
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    for method, ppls in ROWS.items():
        drawn = [None if math.isnan(y) else math.exp(y) for y in lines[method].get_ydata()]
        assert drawn == pytest.approx(list(ppls))
        assert list(lines[method].get_xdata()) == list(LENGTHS)
    assert axis.get_xscale() == "log"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["128", "256", "1,024", "2,048"]
    assert [text.get_text() for text in axis.texts] == ["trained length 256"]
    assert lines["none"].get_color() == "black"
    assert lines["none"].get_linewidth() > lines["yarn:factor=8"].get_linewidth()


@pytest.mark.parametrize(
    ("ppls", "inside"),
    [((12.0, 14.0), (12.5, 13.5)), ((3.0, 400.0), (5, 200)), ((80.0, 81.0), (80, 81))],
)
def test_ticks_of_the_loss_are_round_perplexities_in_their_places(ppls, inside):
    (axis,) = draw_curves(document({"none": ppls, "yarn": ppls[::-1]}, (256, 512))).axes
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    places = [math.exp(place) for place in axis.get_yticks()]
    assert [float(label.replace(",", "")) for label in labels] == pytest.approx(places)
    assert 2 <= len(places) <= 8
    assert places[0] <= inside[0]
    assert places[-1] >= inside[1]
    assert axis.get_ylabel() == "perplexity (log scale)"


def test_losses_beyond_any_perplexity_are_drawn():
    absurd = {"none": (1e306,), "yarn": (2.0,)}
    assert draw_curves(document(absurd, (256,))).axes[0].get_yticks().size <= 8


def test_methods_differ_without_colour():
    many = {f"m{i}": (5.0 + i, 6.0) for i in range(30)}
    (axis,) = draw_curves(document(many, (256, 512))).axes
    looks = {
        (line.get_linestyle(), line.get_marker(), line.get_linewidth())
        for line in axis.lines
        if line.get_label() in many
    }
    assert len(looks) == 30


def test_the_legend_has_the_order_of_the_ends():
    (axis,) = draw_curves(document(ROWS)).axes
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert names == ["none", "linear:factor=8", "yarn:factor=8"]
    title = axis.get_legend().get_title().get_text()
    assert title == "bars: 95 % interval over windows,\nof the baseline and the best"


def test_curves_that_lie_on_each_other_are_drawn_once_more_with_all_intervals():
    rows = {"none": (90.0, 300.0), "rerope": (90.0, 90.5), "yarn": (90.2, 91.0)}
    whole, near = draw_curves(document(rows, (256, 1024))).axes
    assert [line.get_label() for line in near.lines][:2] == ["rerope", "yarn"]
    assert "enlarged" in near.get_title("left")
    assert len(near.collections) == 2  # a bar for each method
    shared = {line.get_label(): line.get_color() for line in whole.lines}
    assert all(line.get_color() == shared[line.get_label()] for line in near.lines[:2])


def test_one_panel_for_each_mode():
    figure = draw_curves(document(ROWS, modes=("full", "decode")))
    assert [axis.get_title("left").split()[-1] for axis in figure.axes] == ["full", "decode"]


@pytest.mark.parametrize(
    "rows",
    [{"none": (9.0,)}, {"none": (None,)}, {"none": (None,), "yarn": (4.0,)}],
    ids=["one cell", "nothing ran", "baseline failed"],
)
def test_pictures_of_little_are_drawn(rows, tmp_path):
    png, svg = write_curves(document(rows, (1024,)), tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ET.fromstring(svg.read_bytes()).tag.endswith("svg")


def test_labels_do_not_touch(tmp_path):
    lengths = (192, 224, 256, 288, 320, 1024, 8192)
    figure = draw_curves(document({"none": [9.0] * 7, "yarn": [8.0] * 7}, lengths))
    figure.canvas.draw()
    (axis,) = figure.axes
    labels = [tick for tick in axis.get_xticklabels() if tick.get_text()]
    # 224 and 288 lie within a 20th of the axis of 192, of the trained length 256, and of 320.
    assert [label.get_text() for label in labels] == ["192", "256", "320", "1,024", "8,192"]
    assert len(axis.get_xticks()) == len(lengths)
    assert all(label.get_rotation() == 60 for label in labels)
    (apart,) = draw_curves(document(ROWS)).axes
    assert all(label.get_rotation() == 0 for label in apart.get_xticklabels())


def test_the_same_records_give_the_same_svg(tmp_path):
    first = write_curves(document(ROWS), tmp_path / "a")[1].read_bytes()
    assert write_curves(document(ROWS), tmp_path / "b")[1].read_bytes() == first


# Files


def test_csv_has_one_line_for_each_cell(tmp_path):
    given = document(ROWS)
    given["cells"][0]["method"] = "longrope:short_factor=@a.json,long_factor=@b.json"
    with write_csv(given, tmp_path).open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert len(lines) == 12
    for line, record in zip(lines, given["cells"], strict=True):
        assert line["method"] == record["method"]
        assert line["nll"] == ("" if record["nll"] is None else repr(record["nll"]))
        assert line["ci95_low"] == ("" if record["ci95"] is None else repr(record["ci95"][0]))
        assert line["reason"] == (record["reason"] or "")


def test_json_is_the_document(tmp_path):
    given = document(ROWS)
    file = write_json(given, tmp_path / "new" / "folder")
    assert json.loads(file.read_text()) == given
    assert [entry.name for entry in file.parent.iterdir()] == ["results.json"]


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_the_old_one(tmp_path, monkeypatch):
    file = write_json({"cells": []}, tmp_path)

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(RopewalkError, match="No space left on device"):
        write_json({"cells": [1]}, tmp_path)
    assert json.loads(file.read_text()) == {"cells": []}
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_a_markdown_table_marks_the_best_of_each_column():
    lines = markdown_table(document(ROWS)).splitlines()
    assert lines[0].startswith("| method |")
    assert lines[1].count("---:") == lines[0].count("|") - 2
    assert lines[2].startswith("| `none` |")
    for column in range(2, lines[0].count("|")):
        cells = [line.split("|")[column].strip() for line in lines[2:]]
        values = [float(c.strip("*").replace(",", "")) for c in cells if c != "-"]
        bold = {float(c.strip("*").replace(",", "")) for c in cells if c.startswith("**")}
        assert bold <= {min(values)}
