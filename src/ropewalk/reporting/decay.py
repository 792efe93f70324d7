"""How logits fall with distance."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ropewalk.reporting.figures import NOTE, add_legend, caption, line_style, open_frame, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    ("bound", "Upper bound of a logit: mean size of partial sums, times its scale", "mean |S|"),
    ("score", "Logit of equal query and key channels, times its scale", "mean cosine"),
)


def draw_decay(document: Mapping[str, Any]) -> "Figure":
    """RoFormer's bound above, the mean cosine below, over the true distance of the key."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    for axis, (key, title, label) in zip(axes, PANELS, strict=True):
        for number, method in enumerate(document["methods"]):
            axis.plot(
                document["distances"],
                method[key],
                label=method["method"],
                **_style(number),
            )
        set_title(axis, title)
        axis.set_ylabel(label)
        axis.grid(axis="y", linewidth=0.5, alpha=0.4)
        open_frame(axis)
        _mark_trained_length(axis, document)
    axes[1].axhline(0.0, color="black", linewidth=0.6)
    axes[1].set_xscale("log", base=2)
    axes[1].xaxis.set_major_formatter("{x:,.0f}")
    axes[1].set_xlabel(
        f"distance of the key from the last of {document['context_length']:,} tokens\n"
        "(tokens; each point is the mean over an eighth of an octave)"
    )
    add_legend(axes[0])
    caption(figure, f"{document['model']}: logits by distance")
    return figure


def _style(number: int) -> dict[str, Any]:
    return {**line_style(number), "markersize": 4.5, "markevery": (3 * number % 8, 8)}


def _mark_trained_length(axis: "Axes", document: Mapping[str, Any]) -> None:
    trained = document["trained_length"]
    if trained >= document["context_length"]:
        return
    axis.axvline(trained, color="grey", linewidth=1.0, linestyle=(0, (1, 2)))
    axis.annotate(
        f"trained length {trained:,}",
        (trained, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3, -9),
        textcoords="offset points",
        ha="right",
        **NOTE,
    )
