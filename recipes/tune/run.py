"""Tune the demo model to four times its length in several ways, each beside the original.

    python -m recipes.tune.run TEXTS HELDOUT

TEXTS and HELDOUT are folders that hold the files named in recipes/tune/plan.py. May be killed and
started again at any time: runs go on where they stopped, and what the results hold is not run
again. ``python -m recipes.pages tune`` writes the page of docs/results/tune.json.
"""

import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
import typer

import ropewalk as rw
from recipes.pages import RESULTS, write_result
from recipes.tune.plan import (
    HELDOUT,
    LENGTH,
    MEASURED,
    RUNS,
    SEARCHED,
    TEXTS,
    TRAINED,
    UNTUNED,
    TuneRun,
)
from ropewalk.data import demo_model


def main(
    texts: Path,
    heldout: Path,
    *,
    out: Path = Path("runs/tune"),
    results: Path = RESULTS / "tune.json",
    only: list[str] | None = None,
) -> None:
    torch.set_num_threads(1)
    document = json.loads(results.read_text("utf-8")) if results.exists() else _empty()
    for run in RUNS:
        if run.name in document["runs"] or (only and run.name not in only):
            continue
        document["runs"][run.name] = _tuned(run, texts, heldout, out / run.name)
        if "untuned" not in document:
            document["untuned"] = _untuned(heldout, out)
        write_result(document, results)
        typer.echo(f"{run.name}: {document['runs'][run.name]['won_back']}")


def _empty() -> dict[str, Any]:
    return {
        "trained_length": TRAINED,
        "length": LENGTH,
        "texts": list(TEXTS),
        "heldout": list(HELDOUT),
        "environment": {
            "device": f"{platform.machine()} CPU, 1 thread",
            "torch": torch.__version__,
            "dtype": "float32",
        },
        "runs": {},
    }


def _tuned(run: TuneRun, texts: Path, heldout: Path, out: Path) -> dict[str, Any]:
    method = _searched(out.parent) if run.method == SEARCHED else run.method
    cpu = time.process_time()
    document = rw.tune(
        demo_model(),
        method,
        run.length,
        texts=[texts / name for name in TEXTS],
        heldout=[heldout / name for name in HELDOUT],
        out=out,
        steps=run.steps,
        learning_rate=run.rate,
        evaluate_every=run.steps // 2,
        save_every=20,
        progress=lambda work, share: typer.echo(f"{run.name}: {work}"),
        **{**MEASURED, **run.words},
    )
    kept = ("method", "length", "stages", "tokens", "protocol", "cells", "won_back", "verified")
    found = {key: document[key] for key in kept}
    log = out / "cpu_seconds"
    if not log.exists():
        log.write_text(f"{time.process_time() - cpu:.0f}")
    return {**found, "cpu_seconds": int(log.read_text())}


def _searched(out: Path) -> str:
    """The spec of what a search by default finds."""
    document = rw.search(None, LENGTH, out=out / "search", documents=(4, 4, 16))
    typer.echo(document["verdict"])
    return str(document["method"])


def _untuned(heldout: Path, out: Path) -> list[dict[str, Any]]:
    result = rw.compare(
        demo_model(),
        out=out / UNTUNED,
        methods=(UNTUNED,),
        lengths=(TRAINED, LENGTH),
        texts=[heldout / name for name in HELDOUT],
        windows=MEASURED["windows"],
        tail_tokens=MEASURED["tail_tokens"],
    )
    return result.records


if __name__ == "__main__":
    typer.run(main)
