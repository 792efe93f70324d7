"""Parts: a task's cell is measured and kept a few samples at a time, and put together at the end.

A killed run loses no more than the samples that were running.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ropewalk.evaluation.cells import Cell, Estimate, Failure, Measurement, Skip
from ropewalk.evaluation.tasks.task import Task

Part = Measurement | Failure | Skip | Estimate


def merged(results: Iterable[Part], wholes: Mapping[str, Task]) -> tuple[Part, ...]:
    """One result for each cell, in the order of the first of its parts.

    wholes  by the text of a part, the task that it is of; others stay as they are
    """
    cells: dict[Cell, list[Part]] = {}
    for result in results:
        whole = wholes.get(result.cell.task)
        cell = result.cell if whole is None else replace(result.cell, task=whole.text)
        cells.setdefault(cell, []).append(result)
    tasks = {whole.text: whole for whole in wholes.values()}
    return tuple(
        _whole(cell, parts, tasks[cell.task]) if cell.task in tasks else parts[0]
        for cell, parts in cells.items()
    )


def _whole(cell: Cell, parts: Sequence[Part], task: Task) -> Part:
    """A failure if any part failed; else a skip, or an estimate, of those that are left."""
    for part in parts:
        if isinstance(part, Failure):
            return replace(part, cell=cell)
    left = [part for part in parts if isinstance(part, Skip | Estimate)]
    if left:
        return replace(left[0], cell=cell, seconds=sum(part.seconds for part in left))
    ran = [part for part in parts if isinstance(part, Measurement)]
    peaks = [part.peak_memory_bytes for part in ran if part.peak_memory_bytes is not None]
    return Measurement(
        cell=cell,
        task=task,
        units=tuple(unit for part in ran for unit in part.units),
        seconds=sum(part.seconds for part in ran),
        peak_memory_bytes=max(peaks) if peaks else None,
        threads=ran[0].threads,
    )
