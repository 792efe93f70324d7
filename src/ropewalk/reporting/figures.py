"""What pictures share: lines that read in grey, sizes, and files."""

import io
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.core.errors import RopewalkError
from ropewalk.storage.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("png", "svg")
LEGEND_WIDTH = 36
"""Characters of a line in a legend."""
NOTE: Mapping[str, Any] = {"fontsize": 8, "color": "dimgrey"}
"""Style of remarks inside a picture."""

# Colours that colour-blind readers tell apart: Okabe and Ito 2008, Color Universal Design.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)), "-")
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "*")


def line_style(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of the line of that number; the first is black and thick."""
    if number == 0:
        return {"color": "black", "linestyle": "-", "linewidth": 2.2, "marker": "o"}
    return {
        "color": COLOURS[(number - 1) % len(COLOURS)],
        "linestyle": _DASHES[(number - 1) % len(_DASHES)],
        "linewidth": 1.5,
        "marker": MARKERS[(number - 1) % len(MARKERS)],
    }


def set_title(axis: "Axes", text: str, size: float = 10) -> None:
    """Left above the axes; method specs are no mathematics."""
    axis.set_title(text, fontsize=size, loc="left", parse_math=False)


def folded(spec: str, width: int) -> str:
    """A long method spec over several lines of about ``width`` characters."""
    lines = [""]
    for part in re.split(r"(?<=[,:])|(?=\+)", spec):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(lines)


def caption(figure: "Figure", text: str) -> None:
    """One title over all panels, folded to the figure's width."""
    width = int(figure.get_figwidth() * 11)
    figure.suptitle(textwrap.fill(text, width), fontsize=11)


def whole_ticks(axis: "Axes") -> None:
    """Whole numbers of tokens on both axes."""
    axis.locator_params(nbins=5, integer=True)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_major_formatter("{x:,.0f}")


def open_frame(axis: "Axes") -> None:
    """No lines at the top and the right."""
    axis.spines[["top", "right"]].set_visible(False)


def add_legend(axis: "Axes") -> None:
    """Beside the picture, so that no line is hidden."""
    lines, labels = axis.get_legend_handles_labels()
    axis.legend(
        lines,
        [folded(label, LEGEND_WIDTH) for label in labels],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )


def write_figure(figure: "Figure", file: Path, *, dpi: int = 110) -> Path:
    """Write a picture in the format of the file's ending, the same bytes each time.

    dpi  dots an inch, in a .png

    Raises RopewalkError for an ending other than .png and .svg, or a file that cannot be written.
    """
    import matplotlib

    kind = kind_of(file)
    options: dict[str, Any] = {"dpi": dpi} if kind == "png" else {"metadata": {"Date": None}}
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ropewalk"}):
        figure.savefig(stream, format=kind, bbox_inches="tight", **options)
    return write_whole(file, stream.getvalue())


def kind_of(file: Path) -> str:
    """``png`` or ``svg``, by the ending of the name; else RopewalkError."""
    kind = file.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise RopewalkError(f"{file}: expected a name that ends in .png or .svg")
    return kind
