"""A finished comparison."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.evaluation.cells import Record
from ropewalk.reporting.notebook import notebook_html
from ropewalk.reporting.parquet import frame_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CompareResult:
    """A finished comparison.

    document  what ``ropewalk compare --json`` prints
    run_dir   the run folder
    """

    document: dict[str, Any]
    run_dir: Path

    @property
    def records(self) -> list[Record]:
        """One record a cell."""
        return list(self.document["cells"])

    def to_frame(self) -> "DataFrame":
        """One row a cell, as ``results.parquet`` has it; RopewalkError without pandas."""
        return frame_of(self.records)

    def __repr__(self) -> str:
        ran = sum(cell["status"] == "ok" for cell in self.records)
        name, cells = self.document["model"], len(self.records)
        return f"CompareResult({name}: {ran} of {cells} cells measured, in {self.run_dir})"

    def _repr_html_(self) -> str:
        return notebook_html(self.document)
