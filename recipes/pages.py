"""What the recipes that write pages share: parts of a results document, text between markers."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from ropewalk.report.plots import draw_curves

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "docs" / "evidence.md"
README = ROOT / "README.md"
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "docs" / "results"

Record = Mapping[str, Any]


def chosen(
    document: Record,
    methods: Sequence[str] = (),
    *,
    modes: Collection[str] = ("full",),
    lengths: Collection[int] = (),
) -> dict[str, Any]:
    """The document with the cells of these methods (in this order), modes and lengths alone."""
    cells = [
        cell
        for cell in document["cells"]
        if cell["mode"] in modes and (not lengths or cell["length"] in lengths)
    ]
    if methods:
        cells = [cell for method in methods for cell in cells if cell["method"] == method]
    return {**document, "cells": cells}


def cell_at(document: Record, method: str, mode: str, length: int) -> Record | None:
    """The measured cell, or None."""
    return next(
        (
            cell
            for cell in document["cells"]
            if (cell["method"], cell["mode"], cell["length"]) == (method, mode, length)
            and cell["nll"] is not None
        ),
        None,
    )


def difference_at(document: Record, method: str, mode: str, length: int) -> Record | None:
    """The paired difference to the baseline, or None."""
    return next(
        (
            each
            for each in document["differences"]
            if (each["method"], each["mode"], each["length"]) == (method, mode, length)
        ),
        None,
    )


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


def fill(page: Path, marker: str, text: str) -> None:
    """Put text between ``<!-- marker -->`` and ``<!-- /marker -->`` of a page."""
    marked = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    old = page.read_text("utf-8")
    if not marked.search(old):
        raise SystemExit(f"{page} has no <!-- {marker} --> block")
    page.write_text(marked.sub(lambda match: match[1] + text + match[2], old), "utf-8")
