"""search: factors for LongRoPE's lists, of a checkpoint, against the fixed schedules."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ropewalk.api.checkpoints import CheckpointSource, open_checkpoint
from ropewalk.api.searched import Contestants, Searched, Texts, searched, tokens_of
from ropewalk.data import demo_book
from ropewalk.evaluation.executor import Executor
from ropewalk.reporting.searches import write_search
from ropewalk.searching.budget import Budget
from ropewalk.searching.outcome import Outcome
from ropewalk.searching.request import Request
from ropewalk.searching.trials import Trials
from ropewalk.storage.files import write_whole

Told = Callable[[str, float], None]
"""Told what is going on, and the share of the whole that is done."""


def search(
    source: str | Path | None,
    length: int | str,
    *,
    texts: Sequence[str | Path] = (),
    heldout: Sequence[str | Path] = (),
    out: str | Path | None = None,
    budget: float | None = None,
    dtype: str = "float32",
    device: str | None = None,
    batch: int = 1,
    executor: Executor | None = None,
    progress: Told = lambda work, share: None,
    **request: Any,
) -> dict[str, Any]:
    """Factors for LongRoPE's lists that beat the fixed schedules on held-out documents, or none.

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    length    N in tokens, or in trained lengths as ``8x``
    texts     UTF-8 files; the bundled book without any
    heldout  files of the test documents; without any, the last part of each text
    out       the folder; a search that was stopped goes on there
    budget    seconds, loading and evaluation included
    batch     documents that go through the model at once
    executor  where measurements run; this process by default
    request   the other flags of ``ropewalk search --help`` (``ropewalk.searching.request.Request``)

    Returns what ``ropewalk search --json`` prints, and writes it with ``factors.json`` and
    pictures. Raises RopewalkError for bad input.
    """
    begun, asked = time.monotonic(), Request(**request)
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    tokens = tokens_of(length, loaded)
    one = searched(
        loaded,
        CheckpointSource(place=source, dtype=dtype, device=device, loaded=loaded),
        asked,
        Contestants.of(loaded, tokens),
        tokens,
        texts=Texts(
            search=[Path(text) for text in texts] or [demo_book()],
            heldout=[Path(text) for text in heldout],
        ),
        out=out,
        executor=executor,
        batch=batch,
    )
    return finished(one, budget, begun, progress)


def finished(one: Searched, seconds: float | None, begun: float, progress: Told) -> dict[str, Any]:
    """Run a search to its end and write what it gave."""
    meter = one.bench.meter
    budget = Budget(seconds=seconds, begun=begun, unit_seconds=meter.unit_seconds)

    def told(trials: Trials, units: int) -> None:
        best = "" if not trials.curve else f", best {trials.curve[-1].value:.4f}"
        progress(f"{one.asked.way}{best}", min(1.0, trials.units / (trials.left or units or 1)))

    progress("fixed schedules", 0.0)
    outcome = one.run(budget, told)
    document = _document(one, outcome, begun)
    _write(document, one.folder.path)
    return document


def _document(one: Searched, outcome: Outcome, begun: float) -> dict[str, Any]:
    bench, folder, winner = one.bench, one.folder.path, outcome.winner.candidate
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
        "method": f"longrope:short_factor=@{folder / 'factors.json'},{lists},"
        f"attention_factor={winner.magnitude:g}{start},policy=fixed,length={bench.length}",
        "method_by_length": f"longrope:short_factor=@{folder / 'short_factors.json'},{lists},"
        f"short_mscale=1,long_mscale={winner.magnitude:g}{start}",
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
