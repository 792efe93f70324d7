"""``ropewalk verify --served``: what a running server computes, as one table and one sentence."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from ropewalk.cli.output import print_json, print_table
from ropewalk.cli.progress import bar

DIFFERENT = 1
_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 32
_SMALLEST, _LARGEST = 1e-5, 3.0
"""Differences of the lowest and the highest bar."""


def verify_served(
    model: str | None, url: str, *, out: Path | None, as_json: bool, **request: Any
) -> None:
    """Print the document of a server; exit status 1 unless it computes what was asked."""
    from ropewalk.api.serving import verify_served as asked_server

    with bar() as progress:
        document = asked_server(model, url, progress=progress, **request)
    if out is not None:
        from ropewalk.reporting.served import write_served

        write_served(document, out)
    if as_json:
        print_json(document)
    else:
        _print(document)
    if not document["passed"]:
        raise typer.Exit(DIFFERENT)


def _print(document: Mapping[str, Any]) -> None:
    typer.echo(
        f"{document['model']} on {document['engine']}, {document['length']:,} tokens (trained "
        f"length {document['trained_length']:,}): {document['told']}.\n"
        f"Difference from the local model under each method, {document['unit']}."
    )
    rows = [
        (
            each["name"],
            _figure(each["mean_difference"]),
            _figure(each["largest_difference"]),
            _bars(each["by_position"]),
        )
        for each in document["candidates"]
    ]
    print_table(("method", "mean", "largest", "by position"), rows)
    typer.echo(document["sentence"])
    if finding := document["finding"]:
        typer.echo(f"{finding['id']}: {finding['message']}.\n  {finding['remedy']}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _bars(by_position: Sequence[float | None]) -> str:
    """The means of about 32 stretches, on a log scale; ``?`` where the server told no number."""
    size = max(1, math.ceil(len(by_position) / _BINS))
    stretches = [by_position[at : at + size] for at in range(0, len(by_position), size)]
    return "".join(map(_bar, stretches))


def _bar(stretch: Sequence[float | None]) -> str:
    known = [each for each in stretch if each is not None]
    if len(known) < len(stretch):
        return "?"
    value = sum(known) / len(known)
    share = math.log(max(value, _SMALLEST) / _SMALLEST) / math.log(_LARGEST / _SMALLEST)
    return _BARS[min(round(share * (len(_BARS) - 1)), len(_BARS) - 1)]
