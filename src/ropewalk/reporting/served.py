"""A server beside the local model, by position: |difference| of a log-probability, or of a unit
vector."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.reporting.figures import add_legend, line_style, open_frame, set_title, write_figure
from ropewalk.storage.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 5
"""Candidates in the picture: what was asked, and the nearest."""
_LEAST_NATS = 1e-7
_STRETCHES = 64


def write_served(document: Mapping[str, Any], folder: Path) -> None:
    """Write served.json, served.png and served.svg; RopewalkError if one cannot be written."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(folder / "served.json", text.encode())
    figure = draw_served(document)
    write_figure(figure, folder / "served.png", dpi=160)
    write_figure(figure, folder / "served.svg")


def draw_served(document: Mapping[str, Any]) -> "Figure":
    """Means over stretches of positions, on a log axis; what was asked is black.

    A dotted line stands at the trained length, a dashed one where the server departs.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0))
    axis = figure.subplots()
    rows = document["positions"]
    for number, each in enumerate(_shown(document)):
        style = {**line_style(number), "marker": None}
        axis.plot(*_stretches(rows, each["by_position"]), label=each["name"], **style)
    axis.axvline(document["trained_length"], color="grey", linestyle=":", linewidth=1.0)
    if document["departs_at"] is not None:
        axis.axvline(document["departs_at"], color="grey", linestyle="--", linewidth=1.0)
    axis.set_yscale("log")
    axis.set_xlabel("position")
    axis.set_ylabel(f"|difference|, {document['unit']}")
    set_title(axis, f"{document['model']} on {document['engine']}, asked: {document['asked']}")
    open_frame(axis)
    add_legend(axis)
    return figure


def _shown(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was asked first, then the nearest others."""
    asked = [each for each in document["candidates"] if each["name"] == document["asked"]]
    others = [each for each in document["candidates"] if each["name"] != document["asked"]]
    return [*asked, *others[: _SHOWN - len(asked)]]


def _stretches(
    rows: Sequence[int], differences: Sequence[float | None]
) -> tuple[list[float], list[float]]:
    """Middles and means of about 64 stretches; a gap where a mean is no number."""
    size = max(1, math.ceil(len(rows) / _STRETCHES))
    places = range(0, len(rows), size)
    middles = [(rows[at] + rows[min(at + size, len(rows)) - 1]) / 2 for at in places]
    parts = [differences[at : at + size] for at in places]
    return middles, [_mean(part) for part in parts]


def _mean(differences: Sequence[float | None]) -> float:
    """NaN where one of them is no number."""
    known = [each for each in differences if each is not None]
    whole = len(known) == len(differences)
    return max(sum(known) / len(known), _LEAST_NATS) if whole else math.nan
