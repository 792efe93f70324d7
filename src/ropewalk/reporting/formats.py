"""Runs of compare in the format that a file's ending names."""

from collections.abc import Sequence
from pathlib import Path

from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.card import card
from ropewalk.reporting.page.render import write_page
from ropewalk.reporting.parquet import write_parquet
from ropewalk.reporting.run_record import RunRecord
from ropewalk.storage.files import write_whole


def write_runs(records: Sequence[RunRecord], file: Path) -> Path:
    """A page, a model card or a table of columns. Raises RopewalkError for another ending, and
    for what cannot be written.
    """
    match file.suffix.lower():
        case ".html":
            return write_page(records, file)
        case ".md":
            return write_whole(file, card(records).encode())
        case ".parquet":
            return write_parquet(records, file)
        case _:
            raise RopewalkError(f"{file}: expected a name that ends in .html, .md or .parquet")
