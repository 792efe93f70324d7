"""Just past the trained length, for docs/evidence.md; with docs/images/seed-*.svg."""

from collections.abc import Sequence
from dataclasses import dataclass

from recipes.pages import (
    EVIDENCE,
    IMAGES,
    Blocks,
    Record,
    at,
    draw,
    perplexity_of,
    result,
    table,
    where,
)
from recipes.seed.findings import findings, frozen_against_nothing
from recipes.seed.plan import ALPHA_ONE, AT_BIRTH, DYNAMIC, SIMULATED, WHOLE_SEQUENCE, prompt_mode
from recipes.smollm2.plan import per_query as steps_of

ONE_BASE = "one base: whole sequence"
ONE_BASE_ALPHA_ONE = "one base, alpha 1"
FROZEN_SIMULATED = "frozen at birth: simulation"
FROZEN_STREAM = "frozen at birth: stream"
FROZEN_PROMPTED = "frozen at birth: long prompt"


LEAST_SHOWN = 0.5
"""Of the trained length: nothing happens below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of the picture: what it is called, and its cells' method and mode."""

    name: str
    method: str
    mode: str = "full"


def curves(document: Record) -> tuple[Curve, ...]:
    measured = {cell["method"] for cell in document["cells"]}
    per_query = DYNAMIC if DYNAMIC in measured else steps_of(document["trained_length"])
    return (
        Curve(name="none", method="none"),
        Curve(name=_row_by_row(per_query), method=per_query),
        Curve(name=ONE_BASE, method=WHOLE_SEQUENCE),
        Curve(name=ONE_BASE_ALPHA_ONE, method=ALPHA_ONE),
        Curve(name=FROZEN_SIMULATED, method=SIMULATED),
        Curve(name=FROZEN_STREAM, method=AT_BIRTH, mode="stream"),
        Curve(name="frozen at birth: one full pass", method=AT_BIRTH),
        Curve(name=FROZEN_PROMPTED, method=AT_BIRTH, mode="prompt"),
    )


def _row_by_row(method: str) -> str:
    """``step=256``: so many rows at a time."""
    _, _, step = method.partition("step=")
    return f"one base: {step} rows at a time" if step else "one base: row by row"


def blocks() -> Blocks:
    files = {"seed-demo": "seed-demo", "seed-smollm2": "smollm2"}
    return {EVIDENCE: {marker: page(result(file), marker) for marker, file in files.items()}}


def page(document: Record, name: str) -> str:
    """Table and picture of one model."""
    named = renamed(document)
    cells = named["cells"]
    lengths = sorted({cell["length"] for cell in cells})
    draw(named, IMAGES / f"{name}.svg")
    trained = document["trained_length"]
    shown = _thinned([n for n in lengths if n >= trained])
    rows = [
        [
            curve.name,
            *(perplexity_of(at(named["cells"], curve.name, "full", length)) for length in shown),
        ]
        for curve in curves(document)
        if _line(named, curve.name)
    ]
    text = (
        f"Perplexity of {document['model']} (trained length {trained:,}; {document['protocol']}; "
        f"{where(document)}), alpha 2 where nothing else "
        f"is said.\n\n{table(['line', *(f'{n:,}' for n in shown)], rows)}\n"
        f"![Perplexity just past the trained length](images/{name}.svg)\n"
    )
    return text + _findings(named, trained)


def _findings(named: Record, trained: int) -> str:
    """What holds; of fewer lines, what a true stream costs."""
    lines = {
        "one_base": _line(named, ONE_BASE),
        "simulated": _line(named, FROZEN_SIMULATED),
        "streamed": _line(named, FROZEN_STREAM),
        "prompted": _line(named, FROZEN_PROMPTED),
        "alpha_one": _line(named, ONE_BASE_ALPHA_ONE),
    }
    if all(lines.values()):
        return f"\n{findings(**lines, trained=trained)}"
    plain = _line(named, "none")
    return f"\n{frozen_against_nothing(lines['streamed'], plain, lines['one_base'], trained)}"


def _line(document: Record, name: str) -> dict[int, float]:
    """Perplexity by length of a curve."""
    return {
        cell["length"]: cell["ppl"]
        for cell in document["cells"]
        if cell["method"] == name and cell["ppl"] is not None
    }


def renamed(document: Record) -> Record:
    """The document's cells under the names of the curves, all in one panel."""
    trained = document["trained_length"]
    found = {c["length"] for c in document["cells"] if c["method"] == AT_BIRTH}
    lengths = sorted(n for n in found if n >= LEAST_SHOWN * trained)
    cells = []
    for curve in curves(document):
        for length in lengths:
            mode = prompt_mode(trained, length) if curve.mode == "prompt" else curve.mode
            cell = at(document["cells"], curve.method, mode, length)
            if cell is not None:
                cells.append({**cell, "method": curve.name, "mode": "full"})
    return {**document, "cells": cells}


def _thinned(lengths: Sequence[int]) -> list[int]:
    """At most nine, the first and the last among them."""
    step = -(-len(lengths) // 9)
    return sorted({*lengths[::step], lengths[-1]})
