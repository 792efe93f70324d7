"""Paired differences of the measured cells of a run to its baseline method."""

from collections.abc import Iterable

from ropewalk.evaluation.bootstrap import paired_difference
from ropewalk.evaluation.cells import Measurement, Record
from ropewalk.evaluation.parts import Part
from ropewalk.evaluation.units import LOSS


def differences(results: Iterable[Part], baseline: str) -> list[Record]:
    """One object for each measured cell that has a measured cell of ``baseline`` (a method
    as typed) of the same task in the same mode at the same length: its figure minus the
    baseline's, nats under ``nll`` or another task's metric under ``value``.
    """
    measured = [result for result in results if isinstance(result, Measurement)]
    references = {_column(r): r for r in measured if r.cell.method.text == baseline}
    return [
        _difference(result, references[_column(result)])
        for result in measured
        if result.cell.method.text != baseline and _column(result) in references
    ]


def _column(result: Measurement) -> tuple[str, str, int]:
    return result.cell.task, result.cell.split.name, result.cell.length


def _difference(result: Measurement, reference: Measurement) -> Record:
    difference = paired_difference(result.units, reference.units, result.task.metric)
    spread, task = difference.interval, result.cell.task
    named = {} if task == LOSS.name else {"task": task.partition(":")[0]}
    return {
        **named,
        "method": result.cell.method.text,
        "baseline": reference.cell.method.text,
        "mode": result.cell.split.name,
        "length": result.cell.length,
        "value" if named else "nll": difference.value,
        "ci95": [spread.low, spread.high] if spread else None,
        "ci95_over": spread.drawn if spread else None,
    }
