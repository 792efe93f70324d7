"""A search run to its end: the document, the lists and the pictures in its folder."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ropewalk.reporting.searches import write_search
from ropewalk.searching.budget import Budget
from ropewalk.searching.measured.search import Search
from ropewalk.searching.outcome import Outcome
from ropewalk.searching.trials import Trials
from ropewalk.storage.files import write_whole

Told = Callable[[str, float], None]
"""Told what is going on, and the share of the whole that is done."""


@dataclass(slots=True, kw_only=True)
class _Gauge:
    """How far a search is, through its parts: the way, the choice, the test."""

    way: str
    progress: Told
    parts: list[Trials] = field(default_factory=list)
    share: float = 0.0

    def __call__(self, trials: Trials, units: int, closing: int) -> None:
        """units, closing  of the way and of both parts after it, by estimate"""
        if not self.parts or trials is not self.parts[-1]:
            self.parts.append(trials)
        first, *after = self.parts
        way = first.units if after else first.allowance.units or units
        done = sum(part.units for part in self.parts)
        self.share = max(self.share, min(1.0, done / max(1, way + closing)))
        best = f", best {first.curve[-1].value:.4f}" if first.curve else ""
        name = (f"{self.way}{best}", "choice", "test")[len(after)]
        self.progress(name, self.share)


def finished(one: Search, seconds: float | None, begun: float, progress: Told) -> dict[str, Any]:
    """Run a search to its end and write what it gave."""
    meter = one.bench.meter
    budget = Budget(seconds=seconds, begun=begun, unit_seconds=meter.unit_seconds)

    progress("fixed schedules", 0.0)
    outcome = one.run(budget, _Gauge(way=one.asked.way, progress=progress))
    document = _document(one, outcome, begun)
    _write(document, one.folder.path)
    return document


def _document(one: Search, outcome: Outcome, begun: float) -> dict[str, Any]:
    bench, folder, winner = one.bench, one.folder.path, outcome.winner.candidate
    magnitude = winner.magnitude if bench.pinned is None else bench.pinned
    stretched = max(1.0, bench.length / bench.setting.trained_length)
    lists = f"long_factor=@{folder / 'factors.json'},factor={stretched:.12g}"
    start = f",start_tokens={winner.start_tokens}" if winner.start_tokens else ""
    return {
        "model": bench.setting.model,
        "trained_length": bench.setting.trained_length,
        "length": bench.length,
        "way": one.asked.way,
        "objective": bench.objective.text,
        "seed": one.asked.seed,
        "short_within": one.asked.short_within,
        "tail_tokens": bench.tokens,
        **outcome.record(),
        "attention_factor": magnitude,
        "method": f"longrope:short_factor=@{folder / 'factors.json'},{lists},"
        f"attention_factor={magnitude:g}{start},policy=fixed,length={bench.length}",
        "method_by_length": f"longrope:short_factor=@{folder / 'short_factors.json'},{lists},"
        f"short_mscale=1,long_mscale={magnitude:g}{start}",
        "units": outcome.units,
        "evaluations": outcome.units / outcome.documents[0],
        "tokens_each": bench.tokens_each,
        "token_evaluations": outcome.units * bench.tokens_each,
        "seconds": time.monotonic() - begun,
        "run_dir": str(folder),
    }


def _write(document: dict[str, Any], folder: Path) -> None:
    write_search(document, folder)
    ones = [1.0] * len(document["factors"])
    for name, content in (
        ("short_factors", ones),
        ("search", document),
        ("factors", document["factors"]),
    ):
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_whole(folder / f"{name}.json", text.encode())
