"""The ``stream`` mode beside really decoding token by token."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.models import extended_copy, random_ids, trained_length_of
from benchmarks.timing import Progress, Race, Work, machine, race, silent
from ropewalk.core.passes import DecodePass, Pass, StreamPass
from ropewalk.evaluation.request import check_words, read_lengths
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.opening.checkpoints import open_checkpoint

PLAIN = "none"
METHODS = (
    PLAIN,
    "yarn",
    "dynamic_ntk:policy=at_birth",
    "dynamic_ntk:step=32",
    "dynamic_ntk",
)
STREAM, DECODE = StreamPass(), DecodePass()


def bench_stream(
    source: str | Path | None = None,
    *,
    methods: Sequence[str] = METHODS,
    length: int | str | None = None,
    rounds: int = 3,
    device: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What decoding computes, in one pass and really token by token.

    methods  specs; an omitted factor is the length over the trained length
    length   of the sequence, in tokens or as ``8x``; by default eight times the trained one
    rounds   in each, every contender runs once
    device   as torch writes it; None for CUDA where there is one

    ``ratios`` of each method: the time of decoding with it over that of its pass
    (``own_decoding``), and the time of decoding with plain RoPE (``plain_decoding``);
    ``differences``: what the two make of the same tokens, in nats (of the mean loss, and the
    largest of a token). Losses of all tokens but the first are taken, so both include the head.
    """
    check_words(methods, ())
    loaded = open_checkpoint(source, device=device)
    trained_length = trained_length_of(loaded)
    tokens = read_lengths([length or "8x"], trained_length)[-1]
    ids, factor = random_ids(loaded, tokens), max(1.0, tokens / trained_length)
    losses: dict[str, Tensor] = {}
    contenders: dict[str, Work] = {}
    for method in dict.fromkeys([*methods, PLAIN]):
        for split in (STREAM, DECODE) if method in methods else (DECODE,):
            twin = extended_copy(loaded.model, method, split=split, factor=factor)
            name = _name(method, split)
            contenders[name] = partial(_score, TransformersScorer(twin), ids, split, losses, name)
    timings = race(contenders, rounds=rounds, warmups=0, progress=progress)
    return {
        "bench": "stream",
        "ratios": {method: _ratios(timings, method) for method in methods},
        "differences": {method: _differences(losses, method) for method in methods},
        "machine": machine(),
        "model": loaded.name,
        "device": loaded.model.device.type,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "tokens": tokens,
        "rounds": rounds,
        "timings": timings.document(),
    }


def _name(method: str, split: Pass) -> str:
    return f"{method}, {split.name}"


def _score(
    scorer: TransformersScorer, ids: Tensor, split: Pass, losses: dict[str, Tensor], name: str
) -> None:
    losses[name] = scorer.token_losses(ids, 1, split)


def _ratios(timings: Race, method: str) -> dict[str, Any]:
    streamed = _name(method, STREAM)
    return {
        "own_decoding": timings.ratio(_name(method, DECODE), streamed).document(),
        "plain_decoding": timings.ratio(_name(PLAIN, DECODE), streamed).document(),
    }


def _differences(losses: Mapping[str, Tensor], method: str) -> dict[str, float]:
    streamed, decoded = losses[_name(method, STREAM)], losses[_name(method, DECODE)]
    return {
        "mean_loss": float((streamed.mean() - decoded.mean()).abs()),
        "largest_of_a_token": float((streamed - decoded).abs().max()),
    }
