"""What each stage of an adaptation did: the loss of schedules at several lengths.

All on the same targets: the last tokens of the test stretches, with ever more of each before them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.tail import Tail
from ropewalk.evaluation.units import LOSS, Unit
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measured.bench import Bench
from ropewalk.searching.paired import difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The model of a bench after one stage.

    lists  the schedule in force at each length
    """

    stage: str
    bench: Bench
    lists: Mapping[int, Candidate]


def effects(stages: Sequence[Effect], documents: Sequence[Document]) -> list[dict[str, Any]]:
    """One object for each stage: nats at each length, and the difference to the stage before.

    Raises RopewalkError where a loss could not be measured.
    """
    rows: list[dict[str, Any]] = []
    before: Mapping[int, Sequence[float]] = {}
    for stage in stages:
        values = {length: _losses(stage, length, documents) for length in stage.lists}
        rows.append(
            {
                "stage": stage.stage,
                "losses": {str(n): sum(each) / len(each) for n, each in values.items()},
                "to_the_stage_before": {
                    str(n): difference(each, before[n]).record()
                    for n, each in values.items()
                    if n in before
                },
            }
        )
        before = values
    return rows


def _losses(stage: Effect, length: int, documents: Sequence[Document]) -> list[float]:
    bench = stage.bench
    tokens = min(bench.tokens, min(stage.lists) // 2)
    setting = replace(
        bench.setting, documents=tuple(documents), protocol=Tail(tokens=tokens, windows=1)
    )
    (units,) = bench.units(setting, [stage.lists[length]], length, LOSS.name)
    if units is None:
        raise RopewalkError(bench.meter.reason)
    return [_nats(unit) for unit in units]


def _nats(unit: Unit) -> float:
    above, below = unit.values[LOSS.name]
    return above / below
