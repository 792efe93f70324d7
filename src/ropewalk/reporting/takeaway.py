"""A comparison in one or two sentences, no more than the figures say."""

import math
from collections.abc import Mapping
from typing import Any

from ropewalk.reporting.records import PLAIN, Comparison, Table
from ropewalk.reporting.table import perplexity_text

NOTICEABLE = math.log(1.02)
"""Nats per token: perplexities within 2 % of each other are called the same."""


def takeaway(document: Mapping[str, Any]) -> str:
    """What happens past the trained length, and which method does best at the longest one.

    Speaks of the first mode, and of cells that ran. Two perplexities within 2 % count as
    the same.

    Raises RopewalkError for a document that is not a comparison.
    """
    comparison = Comparison.of(document)
    table = comparison.tables[0]
    lengths = [length for length in table.lengths if table.measured(length)]
    if not lengths:
        return f"No loss was measured: {next(cell.reason for cell in comparison.cells)}"
    longest = lengths[-1]
    if longest <= comparison.trained_length:
        return _within(comparison, table, longest)
    known = [length for length in lengths if length <= comparison.trained_length]
    reference = known[-1] if known else None
    opening = _baseline_sentence(comparison, table, reference, longest)
    return f"{opening}; {_best_clause(table, reference, longest)}."


def _within(comparison: Comparison, table: Table, longest: int) -> str:
    measured = table.measured(longest)
    best = min(measured, key=lambda method: measured[method])
    opening = (
        f"No length past the trained length of {comparison.trained_length:,} "
        "was measured, so this says nothing about longer contexts"
    )
    if len(measured) < 2:
        return f"{opening} ({best} at {longest:,}: perplexity {_ppl(measured[best])})."
    if max(measured.values()) - measured[best] < NOTICEABLE:
        return f"{opening}; all methods do the same at {longest:,}."
    return f"{opening}; {best} has the lowest perplexity at {longest:,} ({_ppl(measured[best])})."


def _baseline_sentence(
    comparison: Comparison, table: Table, reference: int | None, longest: int
) -> str:
    name, baseline = _name(table), table.baseline
    past = f"Past the trained length of {comparison.trained_length:,} {name}"
    end = table.nll(baseline, longest)
    if end is None:
        return f"{past} could not be measured at {longest:,}"
    start = table.nll(baseline, reference) if reference is not None else None
    if reference is None or start is None:
        return f"{past} has perplexity {_ppl(end)} at {longest:,} (nothing shorter to compare with)"
    figures = f"(perplexity {_ppl(start)} at {reference:,}, {_ppl(end)} at {longest:,})"
    if end - start >= NOTICEABLE:
        return f"{past} degrades {figures}"
    if start - end >= NOTICEABLE:
        return f"{past} keeps improving {figures}"
    return f"{past} holds {figures}"


def _best_clause(table: Table, reference: int | None, longest: int) -> str:
    measured = table.measured(longest)
    end = measured.pop(table.baseline, None)
    if not measured:
        others = len(table.methods) > 1
        return f"no other method could run at {longest:,}" if others else "no other was compared"
    best = min(measured, key=lambda method: measured[method])
    figure = f"{best}, {_ppl(measured[best])}{_ties(table, longest, best)}"
    if end is not None and measured[best] > end - NOTICEABLE:
        return f"no method does noticeably better at {longest:,} (best: {figure})"
    return f"best at {longest:,} is {figure}{_cost(table, best, reference)}"


def _ties(table: Table, length: int, best: str) -> str:
    """Who is not worse, so that a tie is not taken for a victory."""
    standing = table.standings.get(length)
    others = [] if standing is None else [m for m in standing.ties if m != table.baseline]
    if standing is None or standing.best != best or not others:
        return ""
    return f" (not worse: {', '.join(others)})"


def _cost(table: Table, method: str, reference: int | None) -> str:
    """What a method loses within the trained length, if it is noticeable."""
    if reference is None:
        return ""
    start, ours = table.nll(table.baseline, reference), table.nll(method, reference)
    if start is None or ours is None or ours - start < NOTICEABLE:
        return ""
    return f", at the cost of {_ppl(start)} -> {_ppl(ours)} at {reference:,}"


def _name(table: Table) -> str:
    """Where a config asks for scaling, plain RoPE is not the model as it was shipped."""
    return f"plain RoPE ({PLAIN})" if table.baseline == PLAIN else table.baseline


def _ppl(nll: float) -> str:
    return perplexity_text(math.exp(min(nll, 700.0)))
