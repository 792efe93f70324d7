"""Cells of tasks as tables for a terminal: a task by method and length."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich import box
from rich.table import Table as RichTable

RETRIEVED = 0.856
"""Share of a depth's trials that counts as retrieved.

Source: RULER, arXiv:2404.06654, section 4: Llama-2-7B at 4,096 tokens scores 85.6.
"""

LONGPPL = "longppl"
CAPTIONS = {
    "rank_1": "answer likeliest of those in the text",
    "loss": "nats a token of answer",
    LONGPPL: "perplexity at key tokens (nats gained over a short context, all tokens)",
}


def task_tables(document: Mapping[str, Any]) -> Iterator[RichTable]:
    """A table for each task and mode of the document's model. A cell is the metric, then of
    generation the right answers.

    The last column is the effective length: the largest measured one up to which every depth is
    retrieved at every length.
    """
    records = [each for each in document["cells"] if "task" in each and "model" not in each]
    for task, mode in dict.fromkeys((each["task"], each["mode"]) for each in records):
        yield _table(task, mode, [r for r in records if (r["task"], r["mode"]) == (task, mode)])


def effective_lengths(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One object for each retrieval task, method and mode: its effective ``length`` or null."""
    own: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for each in document["cells"]:
        if each.get("task") not in (None, LONGPPL):
            key = (each["task"], each["method"], each["mode"], each.get("model"))
            own.setdefault(key, []).append(each)
    return [
        {
            **({} if model is None else {"model": model}),
            "task": task,
            "method": method,
            "mode": mode,
            "length": effective_length(records),
        }
        for (task, method, mode, model), records in own.items()
    ]


def context_gains(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each further stretch of context is worth to a method, nats a token of all targets of
    ``longppl``: one object for each two neighbouring lengths that were measured.

        nats = gain at ``to`` - gain at ``from``       of tokens at distances ``from`` to ``to``
    """
    ran = [e for e in document["cells"] if e.get("task") == LONGPPL and e["status"] == "ok"]
    gains = []
    for method, mode in dict.fromkeys((each["method"], each["mode"]) for each in ran):
        own = [each for each in ran if (each["method"], each["mode"]) == (method, mode)]
        own.sort(key=lambda each: int(each["length"]))
        gains += [
            {
                "method": method,
                "mode": mode,
                "from": near["length"],
                "to": far["length"],
                "nats": far["longppl"]["gain"] - near["longppl"]["gain"],
            }
            for near, far in pairwise(own)
        ]
    return gains


def effective_length(records: Sequence[Mapping[str, Any]]) -> int | None:
    """The largest length, of one method's cells of a task, up to which every depth is retrieved.

    Of trials that are ranked, ranked first; else answered by greedy decoding. None: not even the
    shortest; cells that did not run end the count (``cut_short``).
    """
    return _walked(records)[0]


def cut_short(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the effective length ends at a cell that did not run: it may be larger."""
    return _walked(records)[1]


def reach(records: Sequence[Mapping[str, Any]]) -> str:
    """The effective length for people; ``-`` for none, ``?`` where not even the shortest ran."""
    length, more = _walked(records)
    if length is None:
        return "?" if more else "-"
    return f"{length:,} or more" if more else f"{length:,}"


def _walked(records: Sequence[Mapping[str, Any]]) -> tuple[int | None, bool]:
    """The effective length, and whether a cell that did not run ended it."""
    reached = None
    for record in sorted(records, key=lambda each: each["length"]):
        if record["status"] != "ok":
            return reached, True
        if not all(map(_retrieved, record["depths"])):
            break
        reached = record["length"]
    return reached, False


def _retrieved(depth: Mapping[str, Any]) -> bool:
    share = depth["right"] if depth["rank_1"] is None else depth["rank_1"]
    return bool(share >= RETRIEVED)


def _table(task: str, mode: str, records: Sequence[Mapping[str, Any]]) -> RichTable:
    metric = next((each["metric"] for each in records if each["metric"]), None)
    shown = CAPTIONS.get(metric or "", "not measured")
    generated = "" if task == LONGPPL else " / right when generated"
    title = f"Task {task}, mode {mode}: {shown}{generated}"
    table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    lengths = sorted({each["length"] for each in records})
    table.add_column("method", overflow="fold")
    for length in lengths:
        table.add_column(f"{length:,}", justify="right", no_wrap=True)
    if task != LONGPPL:
        table.add_column("retrieves up to", justify="right")
    _add_rows(table, records, lengths)
    return table


def _add_rows(
    table: RichTable, records: Sequence[Mapping[str, Any]], lengths: Sequence[int]
) -> None:
    for method in dict.fromkeys(each["method"] for each in records):
        own = {each["length"]: each for each in records if each["method"] == method}
        cells = [_cell(own.get(length)) for length in lengths]
        if len(table.columns) > 1 + len(lengths):
            cells.append(reach(list(own.values())))
        table.add_row(method, *cells)


def _cell(record: Mapping[str, Any] | None) -> str:
    if record is None or record["status"] != "ok":
        return "-" if record is None else f"- ({record['status']})"
    if record["task"] == LONGPPL:
        own = record["longppl"]
        return f"{own['ppl']:.2f} ({own['gain']:+.3f})"
    right = record["generation"]["right"] / record["trials"]
    value = f"{record['value']:.0%}" if record["metric"] == "rank_1" else f"{record['value']:.2f}"
    return f"{value} / {right:.0%}"
