"""Cells as a table of columns, for pandas and for results.parquet."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.core.extras import require_extra
from ropewalk.reporting.records import model_of
from ropewalk.reporting.run_record import RunRecord
from ropewalk.storage.files import write_whole

if TYPE_CHECKING:
    from pandas import DataFrame

_NESTED = ("ci95", "forced", "generation", "depths", "longppl")
"""Fields of a cell that are no single figure."""


def write_parquet(runs: Sequence[RunRecord], file: Path) -> Path:
    """One row a cell, the run's name and model in front.

    Raises RopewalkError without pandas and pyarrow, and if the file cannot be written.
    """
    require_extra("report", "pandas", "pyarrow", purpose=f"{file.name}")
    import pandas

    frames = [
        frame_of(cells).assign(run=run.name, model=[model_of(run.document, each) for each in cells])
        for run in runs
        for cells in [run.document["cells"]]
    ]
    stream = io.BytesIO()
    pandas.concat(frames, ignore_index=True).to_parquet(stream, index=False)
    return write_whole(file, stream.getvalue())


def frame_of(cells: Sequence[Mapping[str, Any]]) -> "DataFrame":
    """One row a cell: an interval in two columns, what is nested (by depth, of generation) as JSON.

    Raises RopewalkError without pandas.
    """
    require_extra("report", "pandas", purpose="a table of columns")
    import pandas

    return pandas.DataFrame([_row(cell) for cell in cells])


def _row(cell: Mapping[str, Any]) -> dict[str, Any]:
    low, high = cell.get("ci95") or (None, None)
    flat = {key: value for key, value in cell.items() if key not in _NESTED}
    nested = {
        key: json.dumps(cell[key], ensure_ascii=False)
        for key in _NESTED[1:]
        if cell.get(key) is not None
    }
    return {"task": "loss", **flat, "ci95_low": low, "ci95_high": high, **nested}
