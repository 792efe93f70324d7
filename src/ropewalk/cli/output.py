"""What commands print: one JSON document, a table, or a remark on standard error."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ropewalk.cli.fitting import fit

if TYPE_CHECKING:
    from rich.console import RenderableType

PIPE_COLUMNS = 160


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on standard output; infinities and NaN, which JSON lacks, as null."""
    typer.echo(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False))


def remark(text: str) -> None:
    """A line for the reader, where it does not disturb what a script reads."""
    typer.echo(text, err=True)


def print_rich(content: "RenderableType") -> None:
    """A rich table or text on standard output; wide where no terminal sets the width."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_COLUMNS
    if isinstance(content, Table):
        fit(content, console)
    console.print(content)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Right-aligned columns on standard output."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(Text, row))
    print_rich(table)


def print_fields(fields: Mapping[str, str]) -> None:
    """Name and value, a line each, values aligned."""
    width = max(map(len, fields))
    for name, value in fields.items():
        typer.echo(f"{name.ljust(width)}  {value}")


def number(value: float) -> str:
    """A number for a human: 5 significant digits, thousands separated."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) < 10**9):
        return f"{int(value):,}"
    return f"{value:,.5g}" if abs(value) < 10**5 else f"{value:.4g}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_positions(positions: Sequence[Mapping[str, Any]]) -> None:
    """What a model has where nothing rotates, what limits it, and what changes it untrained."""
    for each in positions:
        methods = ", ".join(each["methods"]) or "nothing"
        typer.echo(f"{each['kind']}: {each['limit']}. Without training: {methods}.")
