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
    own = {m: [r for r in records if r["method"] == m] for m in _methods(records)}
    cut = [method for method in own if _ran(records, method) and cut_short(own[method])]
    said = _farthest(task, records)
    return f"{said} Longer lengths were not measured of {_listed(cut)}." if cut else said


def _methods(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(record["method"] for record in records))


def _farthest(task: str, records: Sequence[Mapping[str, Any]]) -> str:
    ran = [method for method in _methods(records) if _ran(records, method)]
    if not ran:
        return f"{task}: no cell could run."
    reached = {m: effective_length([r for r in records if r["method"] == m]) or 0 for m in ran}
    farthest = max(reached.values())
    if farthest == 0:
        shortest = min(record["length"] for record in records)
        return f"{task}: no method retrieves at every depth, not even at {shortest:,} tokens."
    best = [method for method in ran if reached[method] == farthest]
    baseline = PLAIN if PLAIN in ran else ran[0]
    sentence = f"{task}: {_names(best)} at every depth up to {farthest:,} tokens"
    if baseline in best:
        return f"{sentence}."
    own = f"up to {reached[baseline]:,}" if reached[baseline] else "at no measured length"
    return f"{sentence}; {_plain(baseline)} {own}."


def _ran(records: Sequence[Mapping[str, Any]], method: str) -> bool:
    return any(record["method"] == method and record["status"] == "ok" for record in records)


def _names(methods: Sequence[str]) -> str:
    return f"{_listed(methods)} {'retrieves' if len(methods) == 1 else 'retrieve'}"


def _listed(methods: Sequence[str]) -> str:
    *others, last = map(_plain, methods)
    return f"{', '.join(others)} and {last}" if others else last


def _plain(method: str) -> str:
    return f"plain RoPE ({PLAIN})" if method == PLAIN else method
