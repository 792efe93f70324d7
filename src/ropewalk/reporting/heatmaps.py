"""Heat maps: distances shown, angles turned, the sinusoidal table."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ropewalk.reporting.figures import caption, folded, set_title, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Even steps in lightness, so that it reads in grey: van der Walt and Smith 2015.
COLOUR_MAP = "viridis"
BEYOND = "lightgrey"
COLUMNS = 3
PANEL_WIDTH = 32
"""Characters of a line above a panel."""


def draw_distances(document: Mapping[str, Any]) -> "Figure":
    """One panel a method: the distance that row and key are shown, regions outlined.

    All panels share one scale, which ends at the trained length: what lies beyond it is grey and
    hatched.
    """
    methods, trained = document["methods"], document["trained_length"]
    figure, axes = _panels(methods)
    largest = max(method["largest"] for method in methods)
    farthest = max(1, min(trained - 1, largest))
    for axis, method in zip(axes, methods, strict=True):
        image = _draw_distances(axis, document, method, farthest)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, format="{x:,.0f}")
    bar.set_label("distance shown (tokens)")
    caption(
        figure,
        f"Distances shown in {document['context_length']:,} tokens, regions outlined; "
        + ("hatched: at or beyond" if largest >= trained else "all below")
        + f" the trained length of {trained:,}",
    )
    return figure


def _panels(methods: Sequence[Mapping[str, Any]]) -> tuple["Figure", list["Axes"]]:
    """A grid with a panel for each method, tall enough for its spec."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(methods))
    rows = -(-len(methods) // columns)
    lines = max(folded(method["method"], PANEL_WIDTH).count("\n") for method in methods)
    size = (3.2 * columns + 1.2, (3.3 + 0.2 * lines) * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in grid[len(methods) :]:
        unused.set_visible(False)
    axes = grid[: len(methods)]
    for axis in axes[-columns:]:
        axis.set_xlabel("key n (token)")
    for axis in axes[::columns]:
        axis.set_ylabel("query m (token)")
    return figure, axes


def _draw_distances(
    axis: "Axes", document: Mapping[str, Any], method: Mapping[str, Any], farthest: float
) -> Any:
    from matplotlib import colormaps

    rows, trained = document["rows"], document["trained_length"]
    values = [[math.nan if v is None else v for v in row] for row in method["matrix"]]
    end = document["context_length"] - 0.5
    image = axis.imshow(
        values,
        cmap=colormaps[COLOUR_MAP].with_extremes(over=BEYOND),
        vmin=0,
        vmax=farthest,
        extent=(-0.5, end, end, -0.5),
        interpolation="nearest",
    )
    beyond = [[v is not None and v >= trained for v in row] for row in method["matrix"]]
    _hatch(axis, beyond, cell=document["context_length"] / len(rows), origin=-0.5, colour="black")
    sides = [region[side] for region in method["regions"] for side in ("start", "stop")]
    for bounds in dict.fromkeys(map(tuple, sides)):
        _draw_border(axis, rows, bounds, end)
    spec = folded(method["method"], PANEL_WIDTH)
    set_title(axis, f"{spec}\nlargest {method['largest']:,.6g}", 9)
    whole_ticks(axis)
    return image


def _draw_border(axis: "Axes", rows: Sequence[int], bounds: Sequence[int], end: float) -> None:
    """Along the cells' edges, where a band begins or ends inside the triangle."""
    inside = [0 < bound <= row for bound, row in zip(bounds, rows, strict=True)]
    at = [bound - 0.5 if here else math.nan for bound, here in zip(bounds, inside, strict=True)]
    down = [row - 0.5 for row in rows]
    axis.plot([*at, at[-1]], [*down, end], color="black", linewidth=0.8, drawstyle="steps-pre")


def draw_angles(document: Mapping[str, Any]) -> "Figure":
    """One panel a length and method: angles by position and pair, out of range hatched."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    panels = document["panels"]
    lengths = list(dict.fromkeys(panel["context_length"] for panel in panels))
    columns = len(panels) // len(lengths)
    figure = Figure(figsize=(3.0 * columns + 1.2, 2.9 * len(lengths) + 0.7), layout="constrained")
    axes = figure.subplots(len(lengths), columns, squeeze=False)
    positive = [v for panel in panels for row in panel["angles"] for v in row if v > 0]
    # Short of the brightest colours, on which the hatching would not show.
    norm = LogNorm(min(positive), 4 * max(positive))
    for axis, panel in zip(axes.flat, panels, strict=True):
        image = _draw_angles(axis, panel, norm, document["trained_length"])
    for axis in axes[-1]:
        axis.set_xlabel("pair")
    for axis in axes[:, 0]:
        axis.set_ylabel("position (token)")
    figure.colorbar(image, ax=axes, shrink=0.9).set_label("angle (radians, log scale)")
    caption(
        figure,
        f"{document['model']}: angle by position and pair; hatched: farther than training turned "
        f"the pair (trained length {document['trained_length']:,}, dashed)",
    )
    return figure


def _draw_angles(axis: "Axes", panel: Mapping[str, Any], norm: Any, trained_length: int) -> Any:
    # Position 0 has no logarithm: it takes the colour of the smallest angle.
    values = [[max(value, norm.vmin) for value in row] for row in panel["angles"]]
    image = axis.pcolormesh(values, norm=norm, cmap=COLOUR_MAP, rasterized=True)
    _hatch(axis, panel["out_of_range"], cell=1.0, origin=0.0, colour="white")
    if panel["context_length"] > trained_length:
        axis.axhline(trained_length, color="white", linewidth=1.2, linestyle="--")
    axis.invert_yaxis()
    axis.set_xticks(*_centres(len(values[0])))
    axis.set_yticks(*_centres(len(values)))
    spec = folded(panel["method"], PANEL_WIDTH)
    set_title(axis, f"{spec}\n{panel['context_length']:,} positions", 9)
    return image


def _hatch(
    axis: "Axes", flags: Sequence[Sequence[bool]], *, cell: float, origin: float, colour: str
) -> None:
    """Hatch the cells whose flag ``[row][column]`` is true, a bar for each run down a column."""
    for number, column in enumerate(zip(*flags, strict=True)):
        for first, count in _runs(column):
            axis.bar(
                origin + (number + 0.5) * cell,
                count * cell,
                cell,
                origin + first * cell,
                fill=False,
                hatch="///",
                edgecolor=colour,
                linewidth=0,
            )


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """(first, how many) of each run of true flags."""
    runs, place = [], 0
    for flag, group in itertools.groupby(flags):
        count = len(list(group))
        if flag:
            runs.append((place, count))
        place += count
    return runs


def _centres(count: int) -> tuple[list[float], list[str]]:
    """Places and numbers of about six cells, the first and evenly spaced ones."""
    step = max(1, round(count / 6))
    shown = range(0, count, step)
    return [number + 0.5 for number in shown], [f"{number:,}" for number in shown]


def draw_sinusoidal(document: Mapping[str, Any]) -> "Figure":
    """The table: positions down, channels across."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(
        document["table"], cmap=COLOUR_MAP, vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
    )
    axis.set_xlabel("channel (even: sine, odd: cosine)")
    axis.set_ylabel("position (token)")
    set_title(
        axis,
        f"Sinusoidal positions, {document['width']} channels: fast at the left, slow at the right",
    )
    figure.colorbar(image).set_label("value added to the embedding")
    return figure
