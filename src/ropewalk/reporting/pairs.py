"""Pictures over the pairs of a head: how slow each turns, and how far."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ropewalk.reporting.figures import NOTE, add_legend, line_style, open_frame, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_wavelengths(document: Mapping[str, Any]) -> "Figure":
    """Wavelength of each pair on a log axis; a shaded area holds the pairs without a full turn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2))
    axis = figure.subplots()
    for number, method in enumerate(document["methods"]):
        lengths = method["wavelengths"]
        axis.plot(range(len(lengths)), lengths, label=method["method"], **_small(number, lengths))
    axis.set_yscale("log")
    axis.set_ylabel("wavelength (tokens for a full turn)")
    trained = document["trained_length"]
    axis.axhline(trained, color="grey", linewidth=1.0, linestyle=(0, (1, 2)))
    axis.annotate(
        f"trained length {trained:,}",
        (0.01, trained),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        **NOTE,
    )
    missing, pairs = _shade(axis, document["turns_in_training"])
    set_title(
        axis,
        f"{document['model']}: {missing} of {pairs} pairs never complete a turn in training "
        "(shaded)",
    )
    _finish(axis)
    return figure


def draw_reach(document: Mapping[str, Any]) -> "Figure":
    """The largest angle of each pair over that of the trained length; above 1 it is new.

    A pair that completed a turn in training has seen every angle. The others are shaded, and
    those of them that leave their range have filled markers.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2))
    axis = figure.subplots()
    for number, method in enumerate(document["methods"]):
        style = {**_small(number, method["reach"]), "markerfacecolor": "white"}
        out = sum(method["out_of_range"])
        label = f"{method['method']}: {out} out of range"
        axis.plot(range(len(method["reach"])), method["reach"], label=label, **style)
        _fill_markers(axis, method, style)
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter("{x:g}")
    trained = document["trained_length"]
    axis.set_ylabel(f"largest angle / angle of {trained:,} trained steps")
    axis.axhline(1.0, color="grey", linewidth=1.0, linestyle=(0, (1, 2)))
    _shade(axis, document["turns_in_training"])
    set_title(
        axis,
        f"{document['model']}: angles in {document['context_length']:,} tokens against training "
        f"in {trained:,}\nshaded: pairs without a full turn in training; filled markers: beyond it",
    )
    _finish(axis)
    return figure


def _small(number: int, values: Sequence[float | None]) -> dict[str, Any]:
    """The style of a line with about a dozen markers, not at the same pairs for all lines."""
    every = max(1, len(values) // 16)
    return {**line_style(number), "markersize": 5, "markevery": (number % every, every)}


def _fill_markers(axis: "Axes", method: Mapping[str, Any], style: Mapping[str, Any]) -> None:
    out = [pair for pair, flag in enumerate(method["out_of_range"]) if flag]
    axis.plot(
        out,
        [method["reach"][pair] for pair in out],
        linestyle="none",
        marker=style["marker"],
        markersize=style["markersize"],
        color=style["color"],
    )


def _shade(axis: "Axes", turns: Sequence[float]) -> tuple[int, int]:
    """Shade the pairs without a full turn in training; (how many, of how many)."""
    missing = [pair for pair, count in enumerate(turns) if count < 1]
    if missing:
        axis.axvspan(missing[0] - 0.5, len(turns) - 0.5, color="black", alpha=0.07, linewidth=0)
    return len(missing), len(turns)


def _finish(axis: "Axes") -> None:
    axis.set_xlabel("pair (0 is the fastest)")
    axis.grid(axis="y", linewidth=0.5, alpha=0.4)
    open_frame(axis)
    add_legend(axis)
