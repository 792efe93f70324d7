"""Paired differences of the measured cells of a run, to a baseline method and to the best one."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ropewalk.evaluation.bootstrap import figure, paired_difference
from ropewalk.evaluation.cells import Measurement, Record
from ropewalk.evaluation.parts import Part
from ropewalk.evaluation.units import LOSS, Metric

Column: TypeAlias = tuple[str, str, int]
"""Task, mode and length: methods are compared within one."""


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


def to_best(results: Iterable[Part]) -> list[Record]:
    """The same to the best method of each task, mode and length, under ``baseline``: one object
    for each other measured cell, with ``not_worse``.

    ``not_worse`` is true where the interval reaches the best, or the difference is nothing; where
    there is no interval, a difference is a difference. The best was chosen by the same units, so
    that true means no more than that these texts do not tell the two apart.
    """
    columns: dict[Column, list[Measurement]] = {}
    for result in results:
        if isinstance(result, Measurement):
            columns.setdefault(_column(result), []).append(result)
    return [record for column in columns.values() for record in _to_best(column)]


def _to_best(column: Sequence[Measurement]) -> list[Record]:
    metric = column[0].task.metric
    best = min(column, key=lambda each: metric.badness(figure(each.units, metric)))
    others = (_difference(result, best) for result in column if result is not best)
    return [{**each, "not_worse": _not_worse(each, metric)} for each in others]


def _not_worse(difference: Record, metric: Metric) -> bool:
    value = difference.get("nll", difference.get("value"))
    ends = difference["ci95"] or [value]
    return min(map(metric.badness, ends)) <= 0.0


def _column(result: Measurement) -> Column:
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
