"""A comparison as a table for a terminal, and in one sentence."""

import io
import re

import pytest
from comparison_documents import ROWS, cell, document
from rich.console import Console

from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.plots import draw_curves
from ropewalk.reporting.table import comparison_table, perplexity_text
from ropewalk.reporting.takeaway import takeaway


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


# Takeaway.


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
            "No loss was measured: out of memory",
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
