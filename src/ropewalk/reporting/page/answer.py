"""The answer first: which method, at which length, at what cost where nothing was extended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropewalk.reporting.found import retrieval_sentences
from ropewalk.reporting.page.figures import ppl_interval, signed_interval
from ropewalk.reporting.records import Comparison, Table, loss_records
from ropewalk.reporting.takeaway import takeaway


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """A method that is not worse than any other at the longest length.

    figure   perplexity there, with its interval
    behind   nats behind the best, paired
    cost     nats above the baseline within the trained length, paired; "none" for the baseline
    seconds  of the cell at the longest length
    """

    method: str
    figure: str
    behind: str
    cost: str
    seconds: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Sentences, and the leaders at ``longest`` tokens; ``unextended`` is where cost is told."""

    sentences: tuple[str, ...]
    leaders: tuple[Leader, ...]
    longest: int | None
    unextended: int | None
    baseline: str | None


def answer(document: Mapping[str, Any]) -> Answer:
    """Of the first mode of a run."""
    if not loss_records(document):
        return Answer(
            sentences=tuple(retrieval_sentences(document)),
            leaders=(),
            longest=None,
            unextended=None,
            baseline=None,
        )
    comparison = Comparison.of(document)
    table = comparison.tables[0]
    measured = [length for length in table.lengths if table.measured(length)]
    known = [length for length in measured if length <= comparison.trained_length]
    unextended = known[-1] if known else None
    return Answer(
        sentences=(takeaway(document), *retrieval_sentences(document)),
        leaders=_leaders(document, table, measured[-1], unextended) if measured else (),
        longest=measured[-1] if measured else None,
        unextended=unextended,
        baseline=table.baseline,
    )


def _leaders(
    document: Mapping[str, Any], table: Table, longest: int, unextended: int | None
) -> tuple[Leader, ...]:
    found = table.measured(longest)
    best = min(found, key=lambda method: found[method])
    standing = table.standings.get(longest)
    behind = {} if standing is None else {each.method: each for each in standing.others}
    seconds = {
        record["method"]: record["seconds"]
        for record in loss_records(document)
        if (record["mode"], record["length"]) == (table.mode, longest)
    }
    return tuple(
        Leader(
            method=method,
            figure=ppl_interval(table.cells[method, longest]),
            behind=signed_interval(behind[method].value, behind[method].ci95)
            if method in behind
            else "the lowest",
            cost=_cost(document.get("differences", ()), table, method, unextended),
            seconds=f"{seconds[method]:,.1f}",
        )
        for method in (best, *(standing.ties if standing else ()))
    )


def _cost(
    differences: Sequence[Mapping[str, Any]], table: Table, method: str, length: int | None
) -> str:
    if method == table.baseline:
        return "none: nothing is changed"
    for each in differences:
        place = (each["method"], each["mode"], each["length"], each.get("task"))
        if place == (method, table.mode, length, None):
            return signed_interval(each["nll"], each["ci95"])
    return "not measured"
