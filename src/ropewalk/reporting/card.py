"""Runs as Markdown for a model card: sentences, tables, and how they were measured."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ropewalk.reporting.markdown import code, markdown_table
from ropewalk.reporting.page.answer import answer
from ropewalk.reporting.page.grid import Grid, task_grid
from ropewalk.reporting.records import loss_records, model_of
from ropewalk.reporting.run_record import RunRecord
from ropewalk.reporting.standings import standings


def card(runs: Sequence[RunRecord]) -> str:
    """Markdown with headings of the second level and below.

    Raises RopewalkError for a document that is not a comparison.
    """
    return "\n".join(line for run in runs for line in _run(run))


def _run(run: RunRecord) -> Iterator[str]:
    document = run.document
    yield f"## Context length: {_plain(document['model'])}\n"
    for sentence in answer(document).sentences:
        yield f"{_plain(sentence)}\n"
    if loss_records(document):
        yield "Perplexity by context length; bold: lowest, or not worse by paired difference.\n"
        yield markdown_table(document)
    for task, mode in dict.fromkeys((c["task"], c["mode"]) for c in document["cells"] if _task(c)):
        yield from _task_lines(document, task, mode)
    yield f"{_measured(run)}\n"


def _task_lines(document: Mapping[str, Any], task: str, mode: str) -> Iterator[str]:
    cells = [c for c in document["cells"] if (c.get("task"), c["mode"]) == (task, mode)]
    columns = standings(document)
    here = {n: found for (t, m, n), found in columns.items() if (t, m) == (task, mode)}
    grid = task_grid(task, mode, cells, here, document["trained_length"])
    models = dict.fromkeys(model_of(document, cell) for cell in cells)
    other = "" if list(models) == [document["model"]] else f"Of model {', '.join(models)}. "
    yield f"{_plain(other + grid.caption.replace('* best', 'Bold: best'))}\n"
    yield from _grid(grid)
    yield ""


def _grid(grid: Grid) -> Iterator[str]:
    yield f"| method | {' | '.join(grid.headers)} |"
    yield f"|---|{'---:|' * len(grid.headers)}"
    for method, cells in grid.rows:
        texts = (f"**{cell.text}**" if cell.leads else cell.text for cell in cells)
        yield f"| {code(method)} | {' | '.join(texts)} |"


def _measured(run: RunRecord) -> str:
    origin = run.origins[0] if run.origins else {}
    dtype, version = run.manifest.get("dtype"), run.manifest.get("version")
    commit = origin.get("commit")
    parts = [
        f"Measured with Ropewalk {version}" + (f" ({str(commit)[:12]})" if commit else ""),
        f"protocol {run.document['protocol']}",
        *([str(dtype)] if dtype else []),
        *([f"torch {origin['torch']}"] if origin.get("torch") else []),
        *([str(origin.get("accelerator") or origin["processor"])] if origin else []),
    ]
    return _plain(f"{', '.join(parts)}.")


def _task(cell: Mapping[str, Any]) -> bool:
    return "task" in cell


def _plain(text: str) -> str:
    """Without what Markdown or HTML would take for its own."""
    escaped = re.sub(r"([\\`*_\[\]<|#])", r"\\\1", text)
    return escaped.replace("\n", " ")
