"""How far each method is behind the best at the longest length, as a table for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from ropewalk.reporting.records import Comparison, Table
from ropewalk.reporting.standings import Behind, Standing
from ropewalk.reporting.table import BEST


def behind_tables(document: Mapping[str, Any]) -> Iterator[RichTable]:
    """One for each mode: nats a token, paired, with the 95 % interval, the nearest first.

    None for a document without paired differences. Raises RopewalkError for what is no comparison.
    """
    comparison = Comparison.of(document)
    for table in comparison.tables:
        longest = max(table.standings, default=None)
        if longest is not None:
            mode = f", mode {table.mode}" if len(comparison.tables) > 1 else ""
            yield _table(table, longest, mode)


def _table(table: Table, length: int, mode: str) -> RichTable:
    standing = table.standings[length]
    rich = RichTable(
        title=f"Nats behind the best at {length:,}{mode}: paired{_drawn(standing)}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    rich.add_column("method", overflow="fold")
    rich.add_column("behind", justify="right", no_wrap=True)
    rich.add_column("95 % interval", justify="right", no_wrap=True)
    rich.add_column("")
    rich.add_row(Text(standing.best), "0", "", f"{BEST} lowest")
    for each in standing.others:
        word = f"{BEST} not worse" if each.not_worse else ""
        rich.add_row(Text(each.method), f"{each.value:+.3f}", _interval(each), word)
    return rich


def _interval(each: Behind) -> str:
    return "-" if each.ci95 is None else f"{each.ci95[0]:+.3f} to {each.ci95[1]:+.3f}"


def _drawn(standing: Standing) -> str:
    over = next((each.ci95_over for each in standing.others if each.ci95_over), None)
    return "" if over is None else f" over {over}"
