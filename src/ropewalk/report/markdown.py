"""A comparison as a Markdown table, for a README or an issue."""

from collections.abc import Mapping
from typing import Any

from ropewalk.report.records import Comparison, Table
from ropewalk.report.table import perplexity_text


def markdown_table(document: Mapping[str, Any]) -> str:
    """Perplexity by method and length in the first mode; the lowest of a column is bold.

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
    return f"| `{method}` | {' | '.join(cells)} |"


def _cell(table: Table, method: str, length: int) -> str:
    cell = table.cells.get((method, length))
    if cell is None or cell.ppl is None:
        return "-"
    shown = perplexity_text(cell.ppl)
    others = {perplexity_text(c.ppl) for (_, n), c in table.cells.items() if n == length and c.ppl}
    best = min(
        (c.ppl for (_, n), c in table.cells.items() if n == length and c.ppl), default=cell.ppl
    )
    return f"**{shown}**" if len(others) > 1 and shown == perplexity_text(best) else shown
