"""A real model, for docs/evidence.md and the README; with docs/images/smollm2.svg."""

from collections.abc import Sequence
from typing import Any

from recipes.pages import (
    EVIDENCE,
    IMAGES,
    README,
    Blocks,
    Record,
    at,
    chosen,
    draw,
    result,
    table,
    where,
)
from recipes.seed.plan import AT_BIRTH, WHOLE_SEQUENCE
from recipes.smollm2.plan import LENGTHS, headline, measured, per_query
from ropewalk.evaluation.request import read_lengths
from ropewalk.reporting.markdown import markdown_table
from ropewalk.reporting.takeaway import takeaway


def blocks() -> Blocks:
    document = result("smollm2")
    trained = document["trained_length"]
    lengths = read_lengths(LENGTHS, trained)
    first = chosen(document, headline(trained), lengths)
    every = chosen(document, measured(trained), lengths)
    draw(first, IMAGES / "smollm2.svg")
    head = (
        f"{_setting(document)} {takeaway(first)}\n\n{markdown_table(first)}\n"
        "![Perplexity against length](images/smollm2.svg)\n"
    )
    readme = head.replace("(images/", "(docs/images/")
    evidence = {
        "smollm2-headline": head,
        "smollm2-methods": _methods(every, lengths),
        "smollm2-gap": _gaps(document, lengths),
        "smollm2-cost": _costs(every, lengths[-1]),
    }
    more = "\nAll methods: [docs/evidence.md](docs/evidence.md).\n"
    return {EVIDENCE: evidence, README: {"smollm2": readme + more}}


def _setting(document: Record) -> str:
    scored = max(cell["tokens_scored"] or 0 for cell in document["cells"])
    return (
        f"Perplexity of {document['model']} (trained length {document['trained_length']:,}) over "
        f"{scored:,} tokens of {len(document['texts'])} texts ({document['protocol']}; "
        f"{where(document)})."
    )


def _methods(document: Record, lengths: Sequence[int]) -> str:
    """Perplexities, and differences to plain RoPE at the trained length and at the longest."""
    trained, longest = document["trained_length"], lengths[-1]
    differences = table(
        ["method", f"at {trained:,}", f"at {longest:,}"],
        (
            [f"`{method}`", *(_difference(document, method, n) for n in (trained, longest))]
            for method in dict.fromkeys(cell["method"] for cell in document["cells"])
            if method != document["baseline"]
        ),
    )
    return (
        f"{markdown_table(document)}\nDifference of the mean loss to `{document['baseline']}` in "
        "nats a token, with the 95 % interval over texts drawn in pairs; below zero is better. "
        f"The column of {trained:,} is what a method costs where nothing had to be extended.\n\n"
        f"{differences}"
    )


def _difference(document: Record, method: str, length: int) -> str:
    found = at(document["differences"], method, "full", length)
    if found is None:
        return "-"
    low, high = found["ci95"] or (None, None)
    spread = "" if low is None else f" ({_signed(low)} to {_signed(high)})"
    return f"{_signed(found['nll'])}{spread}"


def _signed(nats: float) -> str:
    return f"{round(nats, 3) or 0.0:+.3f}".replace("+0.000", "0.000")


def _gaps(document: Record, lengths: Sequence[int]) -> str:
    """Loss of other ways to feed a sequence, minus that of one full pass."""
    beyond = [n for n in lengths if n > document["trained_length"]]
    methods = (per_query(document["trained_length"]), WHOLE_SEQUENCE, AT_BIRTH)
    rows = []
    for method in methods:
        modes = dict.fromkeys(c["mode"] for c in document["cells"] if c["method"] == method)
        for mode in modes:
            gaps = [_gap(document, method, mode, n) for n in beyond]
            if mode != "full" and any(gap is not None for gap in gaps):
                shown = ("-" if gap is None else _signed(gap) for gap in gaps)
                rows.append([f"`{method}`, {mode}", *shown])
    return table(["policy and mode", *(f"{n:,}" for n in beyond)], rows)


def _gap(document: Record, method: str, mode: str, length: int) -> float | None:
    other = at(document["cells"], method, mode, length)
    full = at(document["cells"], method, "full", length)
    return other["nll"] - full["nll"] if other and full else None


def _costs(document: Record, length: int) -> str:
    cells = [c for c in document["cells"] if c["length"] == length and c["status"] == "ok"]
    plain: Any = at(document["cells"], document["baseline"], "full", length)
    rows = (
        [
            f"`{cell['method']}`",
            f"{cell['seconds']:.2f}",
            f"{cell['seconds'] / plain['seconds']:.2f}" if plain else "-",
            _mebibytes(cell["peak_memory_bytes"]),
        ]
        for cell in cells
    )
    batch = document["environment"]["batch"]
    return (
        f"One cell at {length:,} tokens, {batch} sequences at once; memory above the loaded "
        "model.\n\n" + table(["method", "seconds", "over `none`", "peak MiB"], rows)
    )


def _mebibytes(peak: int | None) -> str:
    return "-" if peak is None else f"{peak / 2**20:,.0f}"
