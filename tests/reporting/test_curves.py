"""A comparison as pictures and files."""

import csv
import json
import math
import xml.etree.ElementTree as ET

import pytest
from comparison_documents import LENGTHS, ROWS, document

from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.files import CSV_COLUMNS, write_csv, write_json
from ropewalk.reporting.markdown import markdown_table
from ropewalk.reporting.plots import draw_curves, write_curves

# Pictures.


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


# Files.


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
