"""What measuring costs, against one pass of the model."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.models import random_ids, trained_length_of, vocabulary_of
from benchmarks.timing import Progress, Race, machine, race, silent
from ropewalk.api.extending import extend
from ropewalk.api.measuring import perplexity
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.memory import meter_of
from ropewalk.evaluation.request import read_lengths
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.opening.checkpoints import open_checkpoint

CURVE_LENGTHS = 7
STATIC_METHOD = "yarn:factor=8"


def bench_perplexity(
    source: str | Path | None = None,
    *,
    length: int | str | None = None,
    repeats: int = 3,
    device: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What measuring costs: ``curve`` over seven lengths, and the memory of a long pass.

    length   of the longest pass, in tokens or as ``8x``; by default eight times the trained one
    repeats  timings of each, taken in turn
    device   as torch writes it; None for CUDA where there is one

    ``ratios.curve_over_one_pass`` is the time of one ``curve`` over seven lengths over that of
    one pass at the longest length that scores every token; ``ratios.peak_over_logits`` that
    pass's peak memory above the loaded model over what float32 logits of all its tokens alone
    would take (None where the system does not say).
    """
    loaded = open_checkpoint(source, device=device)
    longest = read_lengths([length or "8x"], trained_length_of(loaded))[-1]
    ids = random_ids(loaded, longest)
    lengths = sorted(
        {max(32, longest * step // CURVE_LENGTHS) for step in range(1, CURVE_LENGTHS + 1)}
    )
    with extend(loaded.model, STATIC_METHOD):
        memory = _memory(loaded, ids)
    timings = _race(loaded, ids, lengths, repeats, progress)
    peak = memory["peak_bytes"]
    return {
        "bench": "perplexity",
        "ratios": {
            "curve_over_one_pass": timings.ratio("curve", "one pass").document(),
            "peak_over_logits": None if peak is None else peak / memory["float32_logits_bytes"],
        },
        "machine": machine(),
        "model": loaded.name,
        "method": STATIC_METHOD,
        "lengths": lengths,
        "memory": memory,
        "timings": timings.document(),
    }


def _race(
    loaded: LoadedModel, ids: torch.Tensor, lengths: list[int], repeats: int, progress: Progress
) -> Race:
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

    return race(
        {"curve": curve, "one pass": one_pass}, rounds=repeats, warmups=0, progress=progress
    )


def _memory(loaded: LoadedModel, ids: torch.Tensor) -> dict[str, Any]:
    with meter_of(loaded.model.device).watch() as reading:
        TransformersScorer(loaded.model).token_losses(ids, 1, FullPass())
    return {
        "tokens": len(ids),
        "peak_bytes": reading.peak_bytes,
        "float32_logits_bytes": 4 * len(ids) * vocabulary_of(loaded),
    }
