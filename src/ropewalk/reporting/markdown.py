"""A comparison as a Markdown table, for a README or an issue."""

from collections.abc import Mapping
from typing import Any

from ropewalk.reporting.records import Comparison, Table
from ropewalk.reporting.table import leaders, perplexity_text


def markdown_table(document: Mapping[str, Any]) -> str:
    """Perplexity by method and length in the first mode; bold as ``table.leaders`` says.

    Raises RopewalkError for a document that is not a comparison.
    """
    comparison = Comparison.of(document)
    table = comparison.tables[0]
    header = [
        f"{length:,}{' (trained)' if length == comparison.trained_length else ''}"
        for length in table.lengths
    ]
    lines = [
        f"| method | {' | '.join(header)} |",
        f"|---|{'---:|' * len(header)}",
        *(_row(table, method) for method in table.methods),
    ]
    return "\n".join(lines) + "\n"


def _row(table: Table, method: str) -> str:
    cells = [_cell(table, method, length) for length in table.lengths]
    return f"| {code(method)} | {' | '.join(cells)} |"


def code(text: str) -> str:
    """A method's spec as code that ends no cell of a table."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _cell(table: Table, method: str, length: int) -> str:
    cell = table.cells.get((method, length))
    if cell is None or cell.ppl is None:
        return "-"
    shown = perplexity_text(cell.ppl)
    return f"**{shown}**" if method in leaders(table, length) else shown
