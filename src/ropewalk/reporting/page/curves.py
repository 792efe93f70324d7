"""The charts of a run: loss by length, the best of it enlarged, and each task."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ropewalk.reporting.page.chart import Chart, Sample, Tick, draw
from ropewalk.reporting.records import CellView, Comparison, Table
from ropewalk.reporting.table import perplexity_text
from ropewalk.reporting.tasks import CAPTIONS, LONGPPL
from ropewalk.reporting.ticks import even_ticks, perplexity_ticks


def loss_charts(comparison: Comparison, table: Table) -> Iterator[Chart]:
    """Perplexity by length in one mode; then the methods near the best alone, where the others
    leave them no room.
    """
    mode = f", mode {table.mode}" if len(comparison.tables) > 1 else ""
    series = {m: (i, _losses(table, m)) for i, m in enumerate(table.methods)}
    near = {m: series[m] for m in table.enlarged()}
    charts = [(f"Perplexity by context length{mode}", series)]
    if near:
        charts.append((f"The same, enlarged: methods near the best{mode}", near))
    over = sorted({cell.ci95_over for cell in table.cells.values() if cell.ci95_over})
    for number, (title, shown) in enumerate(charts):
        chart = draw(
            shown,
            key=f"loss-{table.mode}-{number}",
            title=title,
            y_label="perplexity (log scale)",
            trained_length=comparison.trained_length,
            ticks=_perplexities,
            bars=f"95 % interval over {', '.join(over)}" if over else None,
        )
        if chart is not None:
            yield chart


def task_chart(
    task: str,
    mode: str,
    records: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    trained_length: int,
) -> Chart | None:
    """A task's headline by length, of the records of one task in one mode."""
    ran = [record for record in records if record["status"] == "ok"]
    if not ran:
        return None
    metric = ran[0]["metric"]
    ranked = metric == "rank_1"
    return draw(
        {
            method: (number, [_task_sample(r) for r in ran if r["method"] == method])
            for number, method in enumerate(methods)
        },
        key=f"task-{task}-{mode}",
        title=f"Task {task} by context length, mode {mode}",
        y_label="answer ranked first" if ranked else CAPTIONS[metric].partition(" (")[0],
        trained_length=trained_length,
        ticks=_shares if ranked else _perplexities if metric == LONGPPL else _nats,
        limits=(-0.03, 1.03) if ranked else None,
        bars=f"95 % interval over {ran[0]['ci95_over']}" if ran[0]["ci95"] else None,
    )


def _task_sample(record: Mapping[str, Any]) -> Sample:
    value, spread = record["value"], record["ci95"]
    texts = {"rank_1": f"{value:.0%}", LONGPPL: perplexity_text(_exp(value))}
    return Sample(
        length=record["length"],
        value=value,
        ci95=(spread[0], spread[1]) if spread else None,
        text=texts.get(record["metric"], f"{value:.2f}"),
    )


def _losses(table: Table, method: str) -> list[Sample]:
    cells = (table.cells.get((method, length)) for length in table.lengths)
    return [_loss(cell, cell.nll) for cell in cells if cell is not None and cell.nll is not None]


def _loss(cell: CellView, nll: float) -> Sample:
    return Sample(length=cell.length, value=nll, ci95=cell.ci95, text=perplexity_text(_exp(nll)))


def _perplexities(low: float, high: float) -> list[Tick]:
    return [(math.log(ppl), f"{ppl:,g}") for ppl in perplexity_ticks(low, high)]


def _shares(low: float, high: float) -> list[Tick]:
    return [(share / 4, f"{share / 4:.0%}") for share in range(5) if low <= share / 4 <= high]


def _nats(low: float, high: float) -> list[Tick]:
    return [(value, f"{value:,.4g}") for value in even_ticks(low, high)]


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0))
