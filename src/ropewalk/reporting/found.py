"""What was found in the context, in sentences: how far each method retrieves at every depth."""

from collections.abc import Mapping, Sequence
from typing import Any

from ropewalk.reporting.records import PLAIN
from ropewalk.reporting.tasks import LONGPPL, cut_short, effective_length


def retrieval_sentences(document: Mapping[str, Any]) -> list[str]:
    """A sentence for each retrieval task in the first mode: the methods that reach farthest, and
    the baseline.
    """
    records = [r for r in document["cells"] if r.get("task") not in (None, LONGPPL)]
    modes = list(dict.fromkeys(record["mode"] for record in records))[:1]
    tasks = dict.fromkeys(record["task"] for record in records)
    return [
        _sentence(task, [r for r in records if r["task"] == task and r["mode"] in modes])
        for task in tasks
    ]


def _sentence(task: str, records: Sequence[Mapping[str, Any]]) -> str:
    """Of another model than the run's where the records name one: the toy beside the demo."""
    other = next((record["model"] for record in records if "model" in record), None)
    return _found(f"Task {task} ({other})" if other else f"Task {task}", records)


def _found(task: str, records: Sequence[Mapping[str, Any]]) -> str:
    """What ran, and of which methods a longer length did not."""
    methods = dict.fromkeys(record["method"] for record in records)
    own = {method: [r for r in records if r["method"] == method] for method in methods}
    ran = {m: cells for m, cells in own.items() if any(r["status"] == "ok" for r in cells)}
    if not ran:
        return f"{task}: no cell could run."
    said = _farthest(task, ran, min(record["length"] for record in records))
    cut = [method for method, cells in ran.items() if cut_short(cells)]
    return f"{said} Longer lengths were not measured of {_listed(cut)}." if cut else said


def _farthest(task: str, ran: Mapping[str, Sequence[Mapping[str, Any]]], shortest: int) -> str:
    """ran  the records of each method that ran; ``shortest`` of all that were asked for"""
    reached = {method: effective_length(cells) or 0 for method, cells in ran.items()}
    farthest = max(reached.values())
    if farthest == 0:
        return f"{task}: no method retrieves at every depth, not even at {shortest:,} tokens."
    best = [method for method in ran if reached[method] == farthest]
    baseline = PLAIN if PLAIN in ran else next(iter(ran))
    sentence = f"{task}: {_names(best)} at every depth up to {farthest:,} tokens"
    if baseline in best:
        return f"{sentence}."
    own = f"up to {reached[baseline]:,}" if reached[baseline] else "at no measured length"
    return f"{sentence}; {_plain(baseline)} {own}."


def _names(methods: Sequence[str]) -> str:
    return f"{_listed(methods)} {'retrieves' if len(methods) == 1 else 'retrieve'}"


def _listed(methods: Sequence[str]) -> str:
    *others, last = map(_plain, methods)
    return f"{', '.join(others)} and {last}" if others else last


def _plain(method: str) -> str:
    return f"plain RoPE ({PLAIN})" if method == PLAIN else method
