"""Pictures of a retrieval task: its metric against length, and heat maps of length and depth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.reporting.figures import (
    add_legend,
    folded,
    line_style,
    open_frame,
    set_title,
    write_figure,
)
from ropewalk.reporting.tasks import CAPTIONS, LONGPPL
from ropewalk.reporting.ticks import labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Even steps in lightness, so that it reads in grey: van der Walt and Smith 2015.
COLOUR_MAP = "viridis"
COLUMNS = 4
PANEL_WIDTH = 24
"""Characters of a line above a heat map."""
Records = Sequence[Mapping[str, Any]]


def write_tasks(document: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """``task-<name>.png`` and ``.svg`` of each task that ran, ``task-<name>-<mode>`` where a run
    has several modes. Raises RopewalkError if a file cannot be written.
    """
    written: list[Path] = []
    for name, records in _tasks(document):
        figure = draw_task(records, document["trained_length"])
        for ending in ("png", "svg"):
            written.append(write_figure(figure, folder / f"task-{name}.{ending}"))
    return tuple(written)


def draw_task(records: Records, trained_length: int) -> "Figure":
    """The metric against length, a line a method, with the 95 % intervals of the first method and
    of the best at the longest length; below, for each method, the metric by length and depth.

    records  cells of one task in one mode that ran
    """
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(each["method"] for each in records))
    rows = 0 if _metric(records) == LONGPPL else -(-len(methods) // COLUMNS)
    lines = max(folded(method, PANEL_WIDTH).count("\n") for method in methods)
    heights = (4.0, (1.9 + 0.2 * lines) * rows) if rows else (4.0,)
    figure = Figure(figsize=(9.0, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axis = parts[0].subplots()
    for number, method in enumerate(methods):
        _draw_line(axis, [r for r in records if r["method"] == method], number)
    for method in dict.fromkeys([methods[0], _best(records)]):
        own = [each for each in records if each["method"] == method]
        _draw_bars(axis, own, methods.index(method))
    _finish(axis, records, trained_length)
    if rows:
        _draw_maps(parts[1], records, methods, rows)
    return figure


def _tasks(document: Mapping[str, Any]) -> Iterator[tuple[str, Records]]:
    """Cells that ran of each task and mode, with the name of their picture."""
    ran = [each for each in document["cells"] if "task" in each and each["status"] == "ok"]
    places = dict.fromkeys((each["task"], each["mode"]) for each in ran)
    for task, mode in places:
        several = len({of for name, of in places if name == task}) > 1
        own = [each for each in ran if (each["task"], each["mode"]) == (task, mode)]
        yield f"{task}-{mode.replace(':', '-')}" if several else task, own


def _metric(records: Records) -> str:
    return str(records[0]["metric"])


def _draw_line(axis: "Axes", records: Records, number: int) -> None:
    own = sorted(records, key=lambda each: each["length"])
    places = [_place(each, number) for each in own]
    style = {**line_style(number), "markersize": 5}
    axis.plot(places, [each["value"] for each in own], label=own[0]["method"], **style)


def _draw_bars(axis: "Axes", records: Records, number: int) -> None:
    for each in records:
        low, high = each["ci95"] or (each["value"], each["value"])
        colour = line_style(number)["color"]
        axis.vlines(_place(each, number), low, high, color=colour, linewidth=1.2, alpha=0.6)


def _place(record: Mapping[str, Any], number: int) -> float:
    """Beside one another, so that equal values are seen."""
    return float(record["length"] * 2 ** (0.02 * number))


def _best(records: Records) -> str:
    """Of the longest length."""
    longest = max(each["length"] for each in records)
    sign = -1.0 if _metric(records) == "rank_1" else 1.0
    last = [each for each in records if each["length"] == longest]
    return str(min(last, key=lambda each: sign * each["value"])["method"])


def _finish(axis: "Axes", records: Records, trained_length: int) -> None:
    first, metric = records[0], _metric(records)
    of = f" of {first['model']}" if "model" in first else ""
    trials = f", {first['trials']} trials a cell" if first["trials"] else ""
    set_title(axis, f"{first['task']}{of}, mode {first['mode']}{trials}; bars: 95 % interval")
    lengths = sorted({each["length"] for each in records})
    shown = labelled(tuple(lengths), trained_length)
    axis.set_xscale("log", base=2)
    axis.set_xticks(lengths, [f"{n:,}" if n in shown else "" for n in lengths])
    axis.minorticks_off()
    axis.axvline(trained_length, color="grey", linewidth=1.0, linestyle=(0, (1, 2)), zorder=0)
    axis.set_xlabel(f"context length (tokens); dotted: trained length {trained_length:,}")
    axis.set_ylabel(folded("nats at key tokens" if metric == LONGPPL else CAPTIONS[metric], 30))
    if metric == "rank_1":
        axis.set_ylim(-0.03, 1.03)
        axis.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    open_frame(axis)
    add_legend(axis)


def _draw_maps(part: Any, records: Records, methods: Sequence[str], rows: int) -> None:
    """One a method: columns are lengths, rows fifths of the depth from the beginning down."""
    from matplotlib import colormaps

    metric = _metric(records)
    lengths = sorted({each["length"] for each in records})
    grid = list(part.subplots(rows, COLUMNS, squeeze=False, sharey=True).flat)
    values = [[_share(own, metric) for own in each["depths"]] for each in records]
    most = 1.0 if metric == "rank_1" else max(max(row) for row in values)
    image = None
    for axis, method in zip(grid, methods, strict=False):
        own = {each["length"]: each for each in records if each["method"] == method}
        cells = [_column(own.get(length), metric) for length in lengths]
        shown = [list(row) for row in zip(*cells, strict=True)]
        colours = colormaps[COLOUR_MAP].with_extremes(bad="lightgrey")
        image = axis.imshow(shown, cmap=colours, vmin=0, vmax=most, aspect="auto")
        set_title(axis, folded(method, PANEL_WIDTH), 8)
        axis.set_xticks([], [])
        axis.set_yticks([0, len(shown) - 1], ["start", "end"], fontsize=7)
    for lowest in grid[max(0, len(methods) - COLUMNS) : len(methods)]:
        names = [f"{n:,}" for n in lengths]
        lowest.set_xticks(range(len(lengths)), names, fontsize=7, rotation=60)
    for unused in grid[len(methods) :]:
        unused.set_visible(False)
    bar = part.colorbar(image, ax=grid, shrink=0.9)
    bar.set_label(folded(CAPTIONS[metric], 30), fontsize=8)
    part.supxlabel("context length (tokens)", fontsize=8)
    part.supylabel("depth of what is asked for", fontsize=8)


def _column(record: Mapping[str, Any] | None, metric: str) -> list[float]:
    """Of each fifth of the depths, from the beginning down; gaps where nothing ran."""
    if record is None:
        return [math.nan] * 5
    found = [_share(own, metric) for own in record["depths"]]
    return [*found, *[math.nan] * (5 - len(found))]


def _share(depth: Mapping[str, Any], metric: str) -> float:
    return float(depth[metric])
