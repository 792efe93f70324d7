"""A comparison in a notebook: the table of the page and the sentence above it, without scripts."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ropewalk.reporting.page.answer import answer
from ropewalk.reporting.page.grid import Grid, loss_grid
from ropewalk.reporting.records import Comparison, loss_records


def notebook_html(document: Mapping[str, Any]) -> str:
    """HTML without style or script; every text is escaped.

    Raises RopewalkError for a document that is not a comparison.
    """
    return "".join(_parts(document))


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    for sentence in answer(document).sentences:
        yield f"<p>{escape(sentence)}</p>"
    if loss_records(document):
        comparison = Comparison.of(document)
        for table in comparison.tables:
            yield _table(loss_grid(comparison, table))


def _table(grid: Grid) -> str:
    heads = "".join(f"<th>{escape(each)}</th>" for each in ("method", *grid.headers))
    rows = "".join(
        f"<tr><th>{escape(method)}</th>"
        + "".join(f"<td>{escape(cell.text)}{' *' if cell.leads else ''}</td>" for cell in cells)
        + "</tr>"
        for method, cells in grid.rows
    )
    caption = f"<caption>{escape(grid.caption)}</caption>"
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
