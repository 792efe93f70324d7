"""Put the figures of ``ropewalk bench attention`` into docs/speed.md.

    ropewalk bench attention --json > docs/results/bench-attention.json
    python -m recipes.speed.attention

Reads docs/results/bench-attention.json; writes a table between markers.
"""

import json

import typer

from recipes.pages import RESULTS, ROOT, Record, fill, table

SPEED = ROOT / "docs" / "speed.md"


def main() -> None:
    document = json.loads((RESULTS / "bench-attention.json").read_text("utf-8"))
    fill(SPEED, "attention", page(document))


def page(document: Record) -> str:
    """A row for each contender: time over causal attention, and peak memory, at each length."""
    lengths = document["lengths"]
    names = list(dict.fromkeys(n for length in lengths for n in document["ratios"][str(length)]))
    header = ["", *(f"{length:,} tokens" for length in lengths)]
    times = [[f"`{n}`", *(_time(document, str(length), n) for length in lengths)] for n in names]
    peaks = [[f"`{n}`", *(_peak(document, str(length), n) for length in lengths)] for n in names]
    machine = document["machine"]
    return (
        "Time over causal attention: medians, and quartiles in brackets.\n\n"
        f"{table(header, times)}\n"
        "Peak memory above inputs and output, MiB.\n\n"
        f"{table(header, peaks)}\n"
        f"Taken with torch {machine['torch']}, {machine['threads']} threads, "
        f"{machine['instructions']}, {machine['allocator']}; from "
        "[docs/results/bench-attention.json](results/bench-attention.json), which "
        "`ropewalk bench attention --json` wrote.\n"
    )


def _time(document: Record, length: str, name: str) -> str:
    ratio = document["ratios"][length].get(name)
    if ratio is None:
        return "-"
    first, third = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({first:.2f} to {third:.2f})"


def _peak(document: Record, length: str, name: str) -> str:
    peak = document["memory"][length].get(name)
    return "-" if peak is None else f"{peak / 2**20:,.0f}"


if __name__ == "__main__":
    typer.run(main)
