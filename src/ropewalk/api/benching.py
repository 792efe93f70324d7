"""Speed and memory as ratios against a peer or a limit measured in the same run."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ropewalk.api.extending import config_of, extend
from ropewalk.api.measuring import perplexity
from ropewalk.api.request import read_lengths
from ropewalk.core.config import read_rope_section
from ropewalk.core.passes import FullPass
from ropewalk.data import demo_model
from ropewalk.evaluation.memory import ResidentMemory
from ropewalk.integrations.loading import LoadedModel, load_model
from ropewalk.integrations.scoring import TransformersScorer

CURVE_LENGTHS = 7
STATIC_METHOD = "yarn:factor=8"


def bench_perplexity(
    source: str | Path | None = None, *, length: int | str | None = None, repeats: int = 3
) -> dict[str, Any]:
    """What measuring costs: ``curve`` over seven lengths, and the memory of a long pass.

    length   of the longest pass, in tokens or as ``8x``; by default eight times the trained one
    repeats  timings of each; medians are reported, taken in turn

    ``curve.ratio`` is the time of one ``curve`` over seven lengths over that of one pass at the
    longest length that scores every token. ``memory.peak_bytes`` is that pass's peak above the
    loaded model, beside what float32 logits of all its tokens alone would take.
    """
    loaded = load_model(source or demo_model())
    trained_length = read_rope_section(config_of(loaded.model)).geometry().trained_length
    longest = read_lengths([length or "8x"], trained_length)[-1]
    ids = _ids(loaded, longest)
    with extend(loaded.model, STATIC_METHOD):
        memory = _memory(loaded, ids)
    return {
        "bench": "perplexity",
        "model": loaded.name,
        "machine": machine(),
        "memory": memory,
        "curve": _curve(loaded, ids, repeats),
    }


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "allocator": "default",
    }


def interleaved(
    work: Sequence[Callable[[], object]], repeats: int
) -> list[dict[str, float | list[float]]]:
    """Seconds of each piece of work, run in turn: median, and all timings."""
    timings: list[list[float]] = [[] for _ in work]
    for _ in range(repeats):
        for piece, seconds in zip(work, timings, strict=True):
            started = time.perf_counter()
            piece()
            seconds.append(time.perf_counter() - started)
    return [{"median_seconds": statistics.median(s), "seconds": s} for s in timings]


def _curve(loaded: LoadedModel, ids: torch.Tensor, repeats: int) -> dict[str, Any]:
    longest = len(ids)
    lengths = sorted({max(32, longest * step // CURVE_LENGTHS) for step in range(1, 8)})

    def curve() -> object:
        return perplexity(
            loaded.model,
            [ids],
            lengths,
            methods=[STATIC_METHOD],
            protocol="curve",
            windows=1,
            tail_tokens=min(lengths) // 2,
        )

    def one_pass() -> object:
        with extend(loaded.model, STATIC_METHOD):
            return TransformersScorer(loaded.model).token_losses(ids, 1, FullPass())

    ours, limit = interleaved([curve, one_pass], repeats)
    return {
        "method": STATIC_METHOD,
        "lengths": lengths,
        "curve": ours,
        "one_pass_at_the_longest": limit,
        "ratio": ours["median_seconds"] / limit["median_seconds"],  # type: ignore[operator]
    }


def _memory(loaded: LoadedModel, ids: torch.Tensor) -> dict[str, Any]:
    with ResidentMemory().watch() as reading:
        TransformersScorer(loaded.model).token_losses(ids, 1, FullPass())
    vocabulary = loaded.model.get_input_embeddings().num_embeddings
    return {
        "tokens": len(ids),
        "peak_bytes": reading.peak_bytes,
        "float32_logits_bytes": 4 * len(ids) * vocabulary,
    }


def _ids(loaded: LoadedModel, length: int) -> torch.Tensor:
    vocabulary = loaded.model.get_input_embeddings().num_embeddings
    return torch.randint(vocabulary, (length,), generator=torch.Generator().manual_seed(0))
