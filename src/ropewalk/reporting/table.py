"""A comparison as tables for a terminal: readable without colour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from ropewalk.reporting.beside import Beside
from ropewalk.reporting.records import CellView, Comparison, Table

BEST = "*"
NAME_WIDTH = 24
"""Columns that the methods' texts get at least, where there is need to save."""
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def comparison_table(document: Mapping[str, Any]) -> "ComparisonTable":
    """Perplexity by method (rows) and length (columns), one table for each mode.

    The lowest of a column is bold, green and starred, and so is every method that is not worse
    (by the paired difference to it; in a document without, what reads the same); a column in
    which that is true of all has no star. A cell that failed is ``-`` with a number; the reasons
    stand below. Behind the lengths stands a task of another model, where there is one.

    Raises RopewalkError for a document that is not a comparison.
    """
    return ComparisonTable(Comparison.of(document), Beside.of(document))


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """What ``comparison_table`` returns: print it with rich.

    Lengths that do not fit the width of the console go on in a second table: a figure is
    never cut short.
    """

    comparison: Comparison
    beside: Beside | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        notes = _reason_numbers(self.comparison)
        for table in self.comparison.tables:
            yield Text(self._title(table), style="bold")
            columns = [*self._lengths(table, notes), *self._others(table)]
            for block in _blocks(table, columns, options.max_width):
                yield _table(table, block)
        for reason, number in notes.items():
            yield Text(f"{_raised(number)} {reason}")
        yield Text(_caption(self.comparison), style="dim")
        if self.beside is not None:
            yield Text(self.beside.caption(), style="dim")

    def _title(self, table: Table) -> str:
        title = f"{self.comparison.model}: perplexity by context length"
        return f"{title}, mode {table.mode}" if len(self.comparison.tables) > 1 else title

    def _lengths(self, table: Table, notes: Mapping[str, int]) -> Iterator["_Column"]:
        for length in table.lengths:
            trained = length == self.comparison.trained_length
            best = leaders(table, length)
            cells = {m: _cell(table.cells.get((m, length)), best, notes) for m in table.methods}
            header = f"{length:,} \n(trained) " if trained else f"{length:,} "
            yield _Column(header=header, cells=cells)

    def _others(self, table: Table) -> Iterator["_Column"]:
        if self.beside is None:
            return
        for length, header in self.beside.columns(table.mode).items():
            shown = {m: self.beside.cells.get((table.mode, m, length), "") for m in table.methods}
            yield _Column(header=header, cells={m: Text(text) for m, text in shown.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """What stands above it, and in it by method."""

    header: str
    cells: Mapping[str, Text]

    @property
    def width(self) -> int:
        """With the blank before it, and room for a star in each cell."""
        texts = (each.plain.rstrip(f"{BEST} ") + BEST for each in self.cells.values())
        return 1 + max(map(len, (*self.header.split("\n"), *texts)))


def _blocks(table: Table, columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """In as many groups as the width asks for."""
    names = min(max(len(method) for method in table.methods), NAME_WIDTH)
    blocks: list[list[_Column]] = []
    left = 0
    for column in columns:
        if not blocks or left < column.width:
            blocks.append([])
            left = width - names - 3
        blocks[-1].append(column)
        left -= column.width
    return blocks


def perplexity_text(ppl: float) -> str:
    """Two decimals below 100, one below 1,000, then none: about four digits that count."""
    if ppl >= 1e6:
        return f"{ppl:.1e}"
    return f"{ppl:,.{0 if ppl >= 1000 else 1 if ppl >= 100 else 2}f}"


def _table(table: Table, columns: Sequence[_Column]) -> RichTable:
    rich = RichTable(box=box.SIMPLE_HEAD, padding=0)
    rich.add_column("method", overflow="fold")
    for column in columns:
        rich.add_column(column.header, justify="right", no_wrap=True)
    for method in table.methods:
        rich.add_row(Text(method), *(column.cells[method] for column in columns))
    return rich


def _cell(cell: CellView | None, best: frozenset[str], notes: Mapping[str, int]) -> Text:
    shown = _shown(cell)
    if cell is not None and shown is not None:
        leads = cell.method in best
        return Text(f"{shown}{BEST}", style="bold green") if leads else Text(f"{shown} ")
    if cell is None or cell.reason is None:
        return Text("  ")
    return Text(f"-{_raised(notes[cell.reason])}", style="red")


def _shown(cell: CellView | None) -> str | None:
    if cell is None or cell.nll is None:
        return None
    return "inf" if cell.ppl is None else perplexity_text(cell.ppl)


def leaders(table: Table, length: int) -> frozenset[str]:
    """The best of a column and what is not worse; nothing if that is true of all."""
    measured = table.measured(length)
    if not measured:
        return frozenset()
    standing = table.standings.get(length)
    if standing is not None:
        leading = standing.leaders
    else:
        best = min(measured, key=lambda method: measured[method])
        shown = {method: _shown(table.cells[method, length]) for method in measured}
        leading = frozenset(method for method in measured if shown[method] == shown[best])
    return frozenset() if len(leading) == len(measured) else leading


def _reason_numbers(comparison: Comparison) -> dict[str, int]:
    reasons = dict.fromkeys(cell.reason for cell in comparison.cells if cell.reason is not None)
    return {reason: number for number, reason in enumerate(reasons, start=1)}


def _raised(number: int) -> str:
    return str(number).translate(_RAISED)


def _caption(comparison: Comparison) -> str:
    parts = [
        f"Lower is better; {BEST} is the lowest of its column{_and_ties(comparison)}.",
        f"Protocol {comparison.protocol}{_scored(comparison)}.",
        f"Trained length {comparison.trained_length:,}.",
    ]
    if any("step=" in cell.method for cell in comparison.cells):
        parts.append("Length-dependent methods ran at the step named in their text.")
    return " ".join(parts)


def _and_ties(comparison: Comparison) -> str:
    paired = any(table.standings for table in comparison.tables)
    return " and what is not worse by paired difference" if paired else ""


def _scored(comparison: Comparison) -> str:
    counts = {
        (cell.tokens_scored, cell.documents)
        for cell in comparison.cells
        if cell.tokens_scored is not None and cell.documents is not None
    }
    if not counts:
        return ""
    tokens = _range([count for count, _ in counts])
    documents = _range([count for _, count in counts])
    noun = "document" if documents == "1" else "documents"
    return f": {tokens} tokens scored in each cell, {documents} {noun}"


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
