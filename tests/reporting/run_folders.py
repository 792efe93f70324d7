"""Run folders for tests of reports: documents made here, written as ``compare`` writes them."""

import json
import math
from pathlib import Path
from typing import Any

LENGTHS = (128, 256, 512, 1024)
DEPTHS = 5


def loss_cell(method: str, length: int, nll: float | None, mode: str = "full") -> dict[str, Any]:
    ran = nll is not None
    return {
        "method": method,
        "mode": mode,
        "length": length,
        "documents": 1 if ran else None,
        "tokens_scored": 512 if ran else None,
        "nll": nll,
        "ppl": math.exp(nll) if nll is not None else None,
        "bits_per_byte": 1.5 if ran else None,
        "ci95": [nll - 0.1, nll + 0.1] if nll is not None else None,
        "ci95_over": "windows" if ran else None,
        "seconds": 0.25 if ran else None,
        "peak_memory_bytes": None,
        "status": "ok" if ran else "failed",
        "reason": None if ran else "out of memory",
    }


def task_cell(
    method: str, length: int, shares: tuple[float, ...], task: str = "induction"
) -> dict[str, Any]:
    """A cell whose answer ranks first in that share of the trials of each depth."""
    trials = 4 * len(shares)
    right = sum(shares) / len(shares)
    depths = [
        {
            "from": number / len(shares),
            "to": (number + 1) / len(shares),
            "trials": 4,
            "right": share / 2,
            "greedy": share,
            "rank_1": share,
            "loss": 1.0 - share,
        }
        for number, share in enumerate(shares)
    ]
    return {
        **dict.fromkeys(loss_cell(method, length, 1.0)),
        "task": task,
        "method": method,
        "mode": "full",
        "length": length,
        "metric": "rank_1",
        "value": right,
        "ci95": [max(0.0, right - 0.2), min(1.0, right + 0.2)],
        "ci95_over": "trials",
        "trials": trials,
        "forced": {"loss": 0.5, "rank": 1.5, "rank_1": right, "greedy": right, "ci95": {}},
        "generation": {"right": round(trials * right / 2), "recall": None, "ci95": [0.1, 0.6]},
        "depths": depths,
        "longppl": None,
        "seconds": 1.0,
        "status": "ok",
    }


def behind(method: str, best: str, length: int, value: float) -> dict[str, Any]:
    """How far a method is behind; within 0.05 nats it is not worse."""
    return {
        "method": method,
        "baseline": best,
        "mode": "full",
        "length": length,
        "nll": value,
        "ci95": [value - 0.05, value + 0.05],
        "ci95_over": "windows",
        "not_worse": value <= 0.05,
    }


def document(*cells: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "model": "tiny",
        "trained_length": 256,
        "protocol": "tail:tokens=64,windows=8",
        "run_dir": "/home/someone/run",
        "cells": list(cells),
        "differences": [],
        "to_best": [],
        **more,
    }


def usual() -> dict[str, Any]:
    """Plain RoPE that degrades, two methods that tie, one that failed, and a task."""
    rows = {
        "none": (4.5, 4.4, 5.0, 5.6),
        "rerope": (4.5, 4.39, 4.40, 4.42),
        "dual_chunk": (4.5, 4.4, 4.41, 4.43),
        "alibi": (None, None, None, None),
    }
    cells = [
        loss_cell(method, length, nll)
        for method, losses in rows.items()
        for length, nll in zip(LENGTHS, losses, strict=True)
    ]
    found = {"none": (1.0, 0.25), "rerope": (1.0, 0.9), "dual_chunk": (1.0, 1.0)}
    tasks = [
        task_cell(method, length, (share,) * DEPTHS)
        for method, shares in found.items()
        for length, share in zip((256, 1024), shares, strict=True)
    ]
    cost = {**behind("rerope", "none", 256, -0.01), "baseline": "none"}
    return document(
        *cells,
        *tasks,
        differences=[cost],
        to_best=[
            behind("dual_chunk", "rerope", 1024, 0.01),
            behind("none", "rerope", 1024, 1.18),
        ],
    )


def write_run(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content))
    manifest = {
        "format": 2,
        "version": "0.1.0",
        "model": content["model"],
        "dtype": "float32",
        "weights": "c0ffee" * 10,
        "documents": [{"name": "book.txt", "tokens": 9000, "sha256": "ab" * 32}],
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    (folder / "config.json").write_text(json.dumps({"rope_theta": 12345.0, "model_type": "llama"}))
    origin = {
        "ropewalk": "0.1.0",
        "commit": "0123456789abcdef",
        "python": "3.11",
        "torch": "2.13.0",
        "processor": "A Processor",
        "cores": 2,
        "memory_bytes": 2**33,
        "system": "Linux x86_64",
        "accelerator": None,
    }
    (folder / "origins").mkdir(exist_ok=True)
    (folder / "origins" / "one.json").write_text(json.dumps(origin))
    return folder
