"""A run as the template shows it: sections of values, nothing computed after this."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropewalk.reporting.page.answer import Answer, answer
from ropewalk.reporting.page.chart import Chart
from ropewalk.reporting.page.curves import loss_charts, task_chart
from ropewalk.reporting.page.grid import Grid, loss_grid, task_grid
from ropewalk.reporting.page.heat import HeatMap, heat_maps
from ropewalk.reporting.page.setting import Facts, facts
from ropewalk.reporting.records import Comparison, loss_records
from ropewalk.reporting.run_record import RunRecord
from ropewalk.reporting.standings import standings


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One measure in one mode: its pictures, its table, its heat maps."""

    title: str
    charts: tuple[Chart, ...]
    grid: Grid
    heat_maps: tuple[HeatMap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Cells that have no figure for one reason."""

    reason: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run folder."""

    name: str
    model: str
    answer: Answer
    sections: tuple[Section, ...]
    missing: tuple[Missing, ...]
    facts: Facts


def run_view(run: RunRecord) -> RunView:
    """Raises RopewalkError for a results document that is not a comparison."""
    document = run.document
    return RunView(
        name=run.name,
        model=document["model"],
        answer=answer(document),
        sections=(*_losses(document), *_tasks(document)),
        missing=tuple(_missing(document["cells"])),
        facts=facts(run),
    )


def _losses(document: Mapping[str, Any]) -> Iterator[Section]:
    if not loss_records(document):
        return
    comparison = Comparison.of(document)
    for table in comparison.tables:
        mode = f", mode {table.mode}" if len(comparison.tables) > 1 else ""
        yield Section(
            title=f"Loss by length{mode}",
            charts=tuple(loss_charts(comparison, table)),
            grid=loss_grid(comparison, table),
        )


def _tasks(document: Mapping[str, Any]) -> Iterator[Section]:
    records = [record for record in document["cells"] if "task" in record]
    columns, trained = standings(document), document["trained_length"]
    methods = list(dict.fromkeys(record["method"] for record in records))
    for task, mode in dict.fromkeys((each["task"], each["mode"]) for each in records):
        own = [each for each in records if (each["task"], each["mode"]) == (task, mode)]
        chart = task_chart(task, mode, own, methods, trained)
        here = {n: found for (t, m, n), found in columns.items() if (t, m) == (task, mode)}
        other = next((each["model"] for each in own if "model" in each), None)
        yield Section(
            title=f"Task {task}, mode {mode}" + (f", of model {other}" if other else ""),
            charts=() if chart is None else (chart,),
            grid=task_grid(task, mode, own, here, trained),
            heat_maps=tuple(heat_maps(own)),
        )


def _missing(cells: Sequence[Mapping[str, Any]]) -> Iterator[Missing]:
    without = [cell for cell in cells if cell["status"] != "ok"]
    for reason in dict.fromkeys(cell["reason"] or cell["status"] for cell in without):
        names = [_named(cell) for cell in without if (cell["reason"] or cell["status"]) == reason]
        yield Missing(reason=reason, cells=tuple(names))


def _named(cell: Mapping[str, Any]) -> str:
    what = f"{cell['task']}: " if "task" in cell else ""
    return f"{what}{cell['method']}, {cell['mode']}, {cell['length']:,} ({cell['status']})"
