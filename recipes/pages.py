"""The one writer of pages: text made of committed results, between markers.

    python -m recipes.pages            all pages
    python -m recipes.pages maps seed  those of two recipes

``recipes/NAME/page.py`` has ``blocks()``: for each page what stands between its markers. The marker
of a block is ``<!-- WORDS -->``, its end ``<!-- /FIRST WORD -->``.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import typer

from ropewalk.reporting.plots import draw_curves
from ropewalk.reporting.table import perplexity_text
from ropewalk.storage.files import write_whole

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "docs" / "evidence.md"
README = ROOT / "README.md"
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "docs" / "results"
RECIPES = (
    "adapt", "audit", "busy", "demo", "encodings", "families", "generators", "maps", "properties",
    "protocols", "retrieval", "scale", "search", "seed", "served", "smollm2", "speed", "tune",
    "verify",
)  # fmt: skip

Record = Mapping[str, Any]
Blocks = Mapping[Path, Mapping[str, str]]
"""By page, the text of each marker."""


def main(recipes: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """RECIPES: whose pages are written; without any, all."""
    for name in recipes or RECIPES:
        write(import_module(f"recipes.{name}.page").blocks())


def write(blocks: Blocks) -> None:
    """Put each block in its place."""
    for page, texts in blocks.items():
        page.write_text(filled(page.read_text("utf-8"), texts), "utf-8")


def filled(page: str, texts: Mapping[str, str]) -> str:
    """The page with these texts between their markers."""
    for marker, text in texts.items():
        start, end = re.escape(marker), re.escape(marker.split()[0])
        block = re.compile(rf"(<!-- {start} -->\n).*?(<!-- /{end} -->)", re.DOTALL)
        page, found = block.subn(lambda match, text=text: match[1] + text + match[2], page)
        if found != 1:
            raise ValueError(f"{found} blocks <!-- {marker} -->: expected one")
    return page


def result(name: str) -> dict[str, Any]:
    """A committed results document."""
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return document


def write_result(document: Record, path: Path) -> None:
    """A results file."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(path, text.encode())


def chosen(document: Record, methods: Sequence[str], lengths: Collection[int]) -> dict[str, Any]:
    """The document with the full passes of these methods (in this order) and lengths alone."""
    cells = [
        cell
        for method in methods
        for cell in document["cells"]
        if (cell["method"], cell["mode"]) == (method, "full") and cell["length"] in lengths
    ]
    return {**document, "cells": cells}


def at(records: Sequence[Record], method: str, mode: str, length: int) -> Record | None:
    """The cell (or the difference to the baseline) that was measured there, or None."""
    place = (method, mode, length)
    found = (each for each in records if (each["method"], each["mode"], each["length"]) == place)
    return next((each for each in found if each["nll"] is not None), None)


def perplexity_of(cell: Record | None) -> str:
    """As tables show it; ``-`` where it was not measured."""
    return "-" if cell is None or cell["ppl"] is None else perplexity_text(cell["ppl"])


def where(document: Record) -> str:
    """What figures were taken with."""
    place = document["environment"]
    return f"{place['device']}, torch {place['torch']}, {place['dtype']}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def draw(document: Record, path: Path) -> None:
    """The curves of a document as an SVG file."""
    figure = draw_curves(document)
    path.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "ropewalk"}):
        figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    typer.run(main)
