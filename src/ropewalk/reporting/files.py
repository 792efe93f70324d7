"""Results as files for other programs. Each is written whole or not at all."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.storage.files import write_whole

CSV_COLUMNS = (
    "method", "mode", "length", "documents", "tokens_scored", "nll", "ppl", "bits_per_byte",
    "ci95_low", "ci95_high", "seconds", "peak_memory_bytes", "status", "reason",
    "task", "metric", "value", "trials",
)  # fmt: skip


def write_json(document: Mapping[str, Any], folder: Path) -> Path:
    """Write results.json: the document that ``compare --json`` prints.

    Raises RopewalkError if it cannot be written.
    """
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return write_whole(folder / "results.json", text.encode())


def write_csv(document: Mapping[str, Any], folder: Path) -> Path:
    """Write results.csv: one line a cell, empty where a value is null.

    Raises RopewalkError if it cannot be written.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for record in document["cells"]:
        low, high = record["ci95"] or (None, None)
        writer.writerow({**record, "ci95_low": low, "ci95_high": high})
    return write_whole(folder / "results.csv", stream.getvalue().encode())
