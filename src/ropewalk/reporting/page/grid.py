"""Tables that sort: methods by length, each cell a figure with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropewalk.reporting.page.figures import ppl, ppl_interval, signed_interval
from ropewalk.reporting.records import Comparison, Table
from ropewalk.reporting.standings import Standing
from ropewalk.reporting.table import leaders
from ropewalk.reporting.tasks import LONGPPL


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """``value`` sorts; ``text`` is shown, starred where ``leads``. No value: it did not run."""

    text: str
    value: float | None = None
    leads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Rows by method. ``caption`` says what the figures are."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[GridCell, ...]], ...]


ABSENT = GridCell(text="-")


def loss_grid(comparison: Comparison, table: Table) -> Grid:
    """Perplexities of one mode, and nats behind the best at the longest length."""
    headers = [_header(length, comparison.trained_length) for length in table.lengths]
    longest = table.lengths[-1]
    standing = table.standings.get(longest)
    more = [] if standing is None else [f"behind the best at {longest:,} (nats)"]
    rows = [
        (
            method,
            tuple(
                [_loss_cell(table, method, length) for length in table.lengths]
                + ([] if standing is None else [_behind(standing, method)])
            ),
        )
        for method in table.methods
    ]
    return Grid(
        caption=f"Perplexity, mode {table.mode}, with its 95 % interval; lower is better. "
        "* lowest of its column, or not worse by paired difference.",
        headers=(*headers, *more),
        rows=tuple(rows),
    )


def task_grid(
    task: str,
    mode: str,
    records: Sequence[Mapping[str, Any]],
    standings: Mapping[int, Standing],
    trained_length: int,
) -> Grid:
    """A task's figures in one mode, with right answers of generation where there are any."""
    lengths = sorted({record["length"] for record in records})
    cells = {(record["method"], record["length"]): record for record in records}
    methods = dict.fromkeys(record["method"] for record in records)
    rows = [
        (
            method,
            tuple(_task_cell(cells.get((method, n)), standings.get(n)) for n in lengths),
        )
        for method in methods
    ]
    return Grid(
        caption=_task_caption(task, mode, records),
        headers=tuple(_header(length, trained_length) for length in lengths),
        rows=tuple(rows),
    )


def _task_caption(task: str, mode: str, records: Sequence[Mapping[str, Any]]) -> str:
    metric = next((record["metric"] for record in records if record["metric"]), None)
    shown = {
        "rank_1": "trials whose answer ranks first among those in the text, with a 95 % interval; "
        "then trials answered right when generated",
        "loss": "nats a token of the answer, with a 95 % interval; then trials answered right when "
        "generated",
        LONGPPL: "perplexity at key tokens, with a 95 % interval; then nats gained over a short "
        "context, all tokens",
    }.get(metric or "", "not measured")
    return f"Task {task}, mode {mode}: {shown}. * best of its column, or not worse."


def _header(length: int, trained_length: int) -> str:
    return f"{length:,}{' (trained)' if length == trained_length else ''}"


def _loss_cell(table: Table, method: str, length: int) -> GridCell:
    cell = table.cells.get((method, length))
    if cell is None or cell.nll is None:
        return GridCell(text="failed") if cell is not None and cell.reason else ABSENT
    leads = method in leaders(table, length)
    return GridCell(text=ppl_interval(cell), value=cell.nll, leads=leads)


def _behind(standing: Standing, method: str) -> GridCell:
    if method == standing.best:
        return GridCell(text="the lowest", value=0.0, leads=True)
    for each in standing.others:
        if each.method == method:
            text = signed_interval(each.value, each.ci95)
            return GridCell(text=text, value=each.value, leads=each.not_worse)
    return ABSENT


def _task_cell(record: Mapping[str, Any] | None, standing: Standing | None) -> GridCell:
    if record is None:
        return ABSENT
    if record["status"] != "ok":
        return GridCell(text=record["status"])
    leads = standing is not None and record["method"] in standing.leaders
    every = standing is not None and len(standing.leaders) == 1 + len(standing.others)
    return GridCell(
        text=f"{_task_figure(record)}; {_second_figure(record)}",
        value=record["value"],
        leads=leads and not every,
    )


def _task_figure(record: Mapping[str, Any]) -> str:
    value, spread = record["value"], record["ci95"]
    if record["metric"] == "rank_1":
        return f"{value:.0%}" + (f" [{spread[0]:.0%}, {spread[1]:.0%}]" if spread else "")
    shown = ppl if record["metric"] == LONGPPL else "{:.2f}".format
    return shown(value) + (f" [{shown(spread[0])}, {shown(spread[1])}]" if spread else "")


def _second_figure(record: Mapping[str, Any]) -> str:
    if record["metric"] == LONGPPL:
        return f"{record['longppl']['gain']:+.3f}"
    return f"{record['generation']['right'] / record['trials']:.0%}"
