"""Loss against context length, as a picture that also reads in grey."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.reporting.figures import COLOURS, LEGEND_WIDTH, MARKERS, folded, write_figure
from ropewalk.reporting.records import Comparison, Table
from ropewalk.reporting.ticks import labelled, perplexity_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":")


def write_curves(document: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write curve.png and curve.svg; see ``draw_curves``. Raises RopewalkError as that does,
    and if a file cannot be written.
    """
    figure = draw_curves(document)
    return (
        write_figure(figure, folder / "curve.png", dpi=160),
        write_figure(figure, folder / "curve.svg"),
    )


def draw_curves(document: Mapping[str, Any]) -> "Figure":
    """Perplexity against length, both on log axes, one panel for each mode.

    The baseline is thick and black; other methods differ in colour, dashes and marker, and
    the legend has the order of their ends. Bars: 95 % intervals, for the baseline and the
    best at the longest length; those of the others would hide the lines. Where curves near the
    best lie on each other, they have a second panel, enlarged, with the bars of all.

    Raises RopewalkError for a document that is not a comparison.
    """
    from matplotlib.figure import Figure

    comparison = Comparison.of(document)
    panels = list(_panels(comparison))
    figure = Figure(figsize=(7.0, 4.4 * len(panels)))
    figure.subplots_adjust(hspace=0.5)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, comparison, panel)
    return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Curves of some methods of a table, and of which of them intervals are drawn, in words."""

    title: str
    table: Table
    methods: tuple[str, ...]
    barred: tuple[str, ...]
    whose: str


def _panels(comparison: Comparison) -> Iterator[Panel]:
    """One for each mode, and one more where the curves near the best lie on each other."""
    for table in comparison.tables:
        mode = f", mode {table.mode}" if len(comparison.tables) > 1 else ""
        yield Panel(
            title=f"{comparison.model}, protocol {comparison.protocol}{mode}",
            table=table,
            methods=table.methods,
            barred=tuple(dict.fromkeys((table.baseline, _best(table)))),
            whose=",\nof the baseline and the best",
        )
        near = table.enlarged()
        if near:
            title = f"The same{mode}, enlarged: methods near the best"
            yield Panel(title=title, table=table, methods=near, barred=near, whose="")


def _draw_panel(axis: "Axes", comparison: Comparison, panel: Panel) -> None:
    table = panel.table
    axis.set_title(panel.title, fontsize=10, loc="left", pad=20, parse_math=False)
    for method in panel.methods:
        losses = [_or_gap(table.nll(method, length)) for length in table.lengths]
        axis.plot(table.lengths, losses, label=method, **_style(table.methods.index(method)))
    _draw_bars(axis, panel)
    _set_lengths(axis, comparison, table)
    _set_perplexities(axis)
    axis.grid(axis="y", linewidth=0.5, alpha=0.4)
    axis.spines[["top", "right"]].set_visible(False)
    _add_legend(axis, panel)


def _draw_bars(axis: "Axes", panel: Panel) -> None:
    """Intervals side by side."""
    table, middle = panel.table, (len(panel.barred) - 1) / 2
    for place, method in enumerate(panel.barred):
        shift = place - middle
        cells = [cell for n in table.lengths if (cell := table.cells.get((method, n)))]
        spreads = [(cell.length, *cell.ci95) for cell in cells if cell.ci95]
        if spreads:
            at, low, high = zip(*spreads, strict=True)
            places = [length * 2 ** (0.03 * shift) for length in at]
            colour = _style(table.methods.index(method))["color"]
            axis.vlines(places, low, high, color=colour, linewidth=1.0, alpha=0.6)


def _add_legend(axis: "Axes", panel: Panel) -> None:
    """Beside the picture, in the order of the lines' ends."""
    table = panel.table
    handles, labels = axis.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: -_end(table, labels[i]))
    legend = axis.legend(
        [handles[i] for i in order],
        [folded(labels[i], LEGEND_WIDTH) for i in order],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )
    over = {cell.ci95_over for cell in table.cells.values() if cell.ci95_over}
    if over:
        legend.set_title(f"bars: 95 % interval over {', '.join(sorted(over))}{panel.whose}")
        legend.get_title().set_fontsize(8)
        legend.set_alignment("left")


def _style(number: int) -> dict[str, Any]:
    if number == 0:
        return {"color": "black", "linewidth": 2.6, "marker": "o", "markersize": 5, "zorder": 3}
    return {
        "color": COLOURS[(number - 1) % len(COLOURS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "marker": MARKERS[(number - 1) % len(MARKERS)],
        "linewidth": 1.4,
        "markersize": 5,
    }


def _set_lengths(axis: "Axes", comparison: Comparison, table: Table) -> None:
    """A log2 axis whose ticks are the lengths, and the trained length as a line."""
    axis.set_xscale("log", base=2)
    shown = labelled(table.lengths, comparison.trained_length)
    axis.set_xticks(table.lengths, [f"{n:,}" if n in shown else "" for n in table.lengths])
    axis.tick_params(axis="x", labelrotation=60 if _crowded(table.lengths) else 0)
    axis.minorticks_off()
    axis.set_xlabel("context length (tokens)")
    trained = comparison.trained_length
    span = (min(*table.lengths, trained), max(*table.lengths, trained))
    axis.set_xlim(span[0] / 2**0.2, span[1] * 2**0.2)
    axis.axvline(trained, color="grey", linewidth=1.0, linestyle=(0, (1, 2)), zorder=0)
    axis.annotate(
        f"trained length {trained:,}",
        (trained, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="left",
        va="bottom",
        fontsize=8,
        color="dimgrey",
    )


def _set_perplexities(axis: "Axes") -> None:
    """Nats are equally spaced; their ticks are round perplexities."""
    low, high = axis.get_ylim()
    ticks = perplexity_ticks(low, high)
    axis.set_yticks([math.log(ppl) for ppl in ticks], [f"{ppl:,g}" for ppl in ticks])
    axis.set_ylim(low, high)
    axis.set_ylabel("perplexity (log scale)")


def _crowded(lengths: tuple[int, ...]) -> bool:
    """Whether labels of neighbouring ticks would touch: closer than a 14th of the axis."""
    places = [math.log2(length) for length in lengths]
    gaps = [after - before for before, after in itertools.pairwise(places)]
    return bool(gaps) and min(gaps) < (places[-1] - places[0]) / 14


def _best(table: Table) -> str:
    """The lowest at the longest length that anything ran at; the baseline if nothing ran."""
    for length in reversed(table.lengths):
        measured = table.measured(length)
        if measured:
            return min(measured, key=lambda method: measured[method])
    return table.baseline


def _end(table: Table, method: str) -> float:
    """Loss at the longest length of a method, for the order of the legend."""
    losses = [nll for n in table.lengths if (nll := table.nll(method, n)) is not None]
    return losses[-1] if losses else -math.inf


def _or_gap(nll: float | None) -> float:
    return math.nan if nll is None else nll
