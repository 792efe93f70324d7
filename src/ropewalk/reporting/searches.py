"""A search as table and pictures: factors by pair, loss against what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.reporting.figures import (
    NOTE,
    add_legend,
    line_style,
    open_frame,
    set_title,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]
SHOWN = ("yarn", "linear", "ntk_aware")
"""Fixed schedules beside the winner in the picture of factors."""
WIDE = 8
"""Times as many tokens as the shortest search, from which on the axis is a log scale."""
HEADER = ("schedule", "magnitude", "search", "choice", "test", "to the best fixed one (95 %)")


def write_search(document: Record, folder: Path) -> None:
    """Write factors.png and search.png. Raises RopewalkError if they cannot be written."""
    write_figure(draw_factors(document), folder / "factors.png")
    write_figure(draw_descent([document]), folder / "search.png")


def search_rows(document: Record) -> list[tuple[str, ...]]:
    """The rows of a table under ``HEADER``: losses in nats a token."""
    return [
        (
            row["name"],
            f"{row['attention_factor']:g}",
            *(_nats(row[part]) for part in ("search", "choice", "test")),
            _apart(row["to_best_fixed"]),
        )
        for row in _once(document["rows"])
    ]


def effect_rows(document: Record) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of an adaptation: nats of each stage at each length, and its own effect."""
    lengths = list(document["effects"][0]["losses"])
    rows = []
    for effect in document["effects"]:
        cells = []
        for length in lengths:
            apart = effect["to_the_stage_before"].get(length)
            own = "" if apart is None else f"  {_apart(apart)}"
            cells.append(f"{effect['losses'][length]:.4f}{own}")
        rows.append((effect["stage"], *cells))
    return ("stage", *(f"{int(length):,}" for length in lengths)), rows


def draw_factors(document: Record) -> "Figure":
    """Divisors of each pair, on a log axis: what was found, the ramp, and fixed schedules."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2))
    axis = figure.subplots()
    for number, row in enumerate(_drawn(document["rows"])):
        factors = row["factors"]
        every = max(1, len(factors) // 16)
        label = f"{row['name']}, magnitude {row['attention_factor']:.4g}"
        axis.plot(
            range(len(factors)),
            factors,
            label=label,
            **{**line_style(number), "markersize": 4, "markevery": (number % every, every)},
        )
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter("{x:g}")
    stretched = document["length"] / document["trained_length"]
    axis.axhline(stretched, color="grey", linewidth=1.0, linestyle=(0, (1, 2)))
    axis.annotate(
        f"length over trained length, {stretched:g}",
        (0.01, stretched),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        **NOTE,
    )
    axis.set_xlabel("pair (0 is the fastest)")
    axis.set_ylabel("factor (times slower)")
    title = f"{document['model']} at {document['length']:,} tokens"
    set_title(axis, f"{title}\n{document['verdict']}", 9)
    axis.grid(axis="y", linewidth=0.5, alpha=0.4)
    open_frame(axis)
    add_legend(axis)
    return figure


def draw_descent(documents: Sequence[Record]) -> "Figure":
    """The best loss on the search documents against tokens measured, a step line a way.

    A line begins with the first schedule that the way itself tried on all documents; the tokens of
    the fixed schedules before it are counted. All searches over the same search documents.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2))
    axis = figure.subplots()
    for number, document in enumerate(documents):
        points = document["way_curve"]
        if not points:
            continue
        tokens = [point["units"] * document["tokens_each"] for point in points]
        values = [point["value"] for point in points]
        style = {**line_style(number), "markersize": 4}
        tokens, values = [*tokens, document["token_evaluations"]], [*values, values[-1]]
        axis.plot(tokens, values, drawstyle="steps-post", label=f"way {document['way']}", **style)
    first = documents[0]
    _draw_bars(axis, first)
    _scale_tokens(axis, [document["token_evaluations"] for document in documents])
    axis.set_xlabel("tokens through the model")
    axis.set_ylabel(f"best {first['objective']} on the search documents (nats)")
    number = first["documents"]["search"]
    where = f"{first['model']} at {first['length']:,} tokens"
    set_title(axis, f"{where}, {number} documents to search on")
    axis.grid(axis="y", linewidth=0.5, alpha=0.4)
    open_frame(axis)
    add_legend(axis)
    return figure


def _scale_tokens(axis: "Axes", ends: Sequence[float]) -> None:
    """From 0; a log scale where one search took so many that the others would be a stroke."""
    from matplotlib.ticker import NullFormatter

    if max(ends) > WIDE * min(ends):
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.set_xlim(left=0)
    axis.xaxis.set_major_formatter(lambda tokens, _: f"{tokens / 1000:,.6g}k")


def _draw_bars(axis: "Axes", document: Record) -> None:
    """The best fixed schedule on the search documents, and the closed-form ramp.

    The lower one is named below its line, the other one above: they may lie close.
    """
    ramp, fixed = document["rows"][1], [row for row in document["rows"][2:] if row["search"]]
    bars = [ramp, *sorted(fixed, key=lambda row: float(row["search"]))[:1]]
    drawn = [row for row in bars if row["search"] is not None]
    lowest = min((float(row["search"]) for row in drawn), default=None)
    for place, row in enumerate(drawn):
        below = len(drawn) > 1 and row["search"] == lowest
        axis.axhline(row["search"], color="grey", linewidth=1.0, linestyle=(0, (1, 2)))
        axis.annotate(
            row["name"], (1.0 - place, row["search"]), xycoords=("axes fraction", "data"),
            xytext=(2 if place else -2, -3 if below else 3), textcoords="offset points",
            ha="left" if place else "right", va="top" if below else "bottom", **NOTE,
        )  # fmt: skip


def _drawn(rows: Sequence[Record]) -> list[Record]:
    """The first two rows (what was found, and the ramp), and the fixed schedules of ``SHOWN``."""
    fixed = [row for name in SHOWN for row in rows[2:] if row["name"].startswith(name)]
    return [*_once(rows[:2]), *fixed]


def _once(rows: Sequence[Record]) -> Sequence[Record]:
    """The rows, the ramp not twice where it is what was chosen."""
    return rows[1:] if rows[0]["name"] == rows[1]["name"] else rows


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _apart(difference: Record | None) -> str:
    if difference is None:
        return "-"
    low, high = difference["ci95"]
    return f"{difference['value']:+.4f} ({low:+.4f} to {high:+.4f})"
