"""Decoding with methods that rotate keys as they are read, beside the model as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from benchmarks.models import extended_copy, trained_length_of
from benchmarks.timing import Progress, Race, machine, race, silent
from ropewalk.evaluation.request import check_words, read_lengths
from ropewalk.integrations.key_record import RECORD, vouch
from ropewalk.integrations.placement import input_device
from ropewalk.opening.checkpoints import open_checkpoint

STOCK = "stock"
METHODS = ("dynamic_ntk", "dynamic_ntk:step=64", "rerope", "dual_chunk")
WARM_UP_TOKENS = 3


def bench_decode(
    source: str | Path,
    *,
    methods: Sequence[str] = METHODS,
    length: int | str | None = None,
    tokens: int = 64,
    device: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Tokens a second of greedy decoding, each contender one token a round.

    methods  specs, beside the model as it is
    length   keys in the cache at the start, in tokens or as ``1.5x``; by default 1.5 times the
             trained length
    tokens   decoded by each; with a step of 64, 64 tokens hold one change of L
    device   as torch writes it; None for CUDA where there is one

    The cache is the library's own ``DynamicCache``, filled with random keys and values: speed does
    not read them. ``ratios``: tokens a second of each over those of the stock model, by all rounds
    together (``all_tokens``: what a change of L costs is in it) and round by round (``by_token``).
    """
    check_words(methods, ())
    loaded = open_checkpoint(source, device=device)
    keys = read_lengths([length or "1.5x"], trained_length_of(loaded))[-1]
    decoders = {STOCK: _Decoder(loaded.model, keys)}
    for method in methods:
        decoders[method] = _Decoder(extended_copy(loaded.model, method), keys)
    timings = race(
        {name: decoder.step for name, decoder in decoders.items()},
        rounds=tokens,
        warmups=WARM_UP_TOKENS,
        progress=progress,
    )
    return {
        "bench": "decode",
        "ratios": {name: _ratios(timings, name) for name in methods},
        "tokens_per_second": {name: tokens / timings.total(name) for name in decoders},
        "machine": machine(),
        "model": loaded.name,
        "device": loaded.model.device.type,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "cached_keys": keys,
        "tokens": tokens,
        "cache": "transformers DynamicCache",
        "timings": timings.document(),
    }


def _ratios(timings: Race, name: str) -> dict[str, Any]:
    return {
        "all_tokens": timings.total(STOCK) / timings.total(name),
        "by_token": timings.ratio(STOCK, name).document(),
    }


class _Decoder:
    """A model in the middle of a text of random keys and values."""

    def __init__(self, model: Any, keys: int) -> None:
        self._model, self._cache = model.eval(), DynamicCache(config=model.config)
        device = input_device(model)
        self._token = torch.zeros(1, 1, dtype=torch.long, device=device)
        self.step()
        generator = torch.Generator().manual_seed(0)
        layers: list[Any] = self._cache.layers
        for index, layer in enumerate(layers):
            added, values = (
                torch.randn(*each.shape[:2], keys - 1, each.shape[3], generator=generator).to(each)
                for each in (layer.keys, layer.values)
            )
            self._cache.update(added, values, index)
        if hasattr(self._cache, RECORD):  # what was added counts as the model's own
            vouch(self._cache)

    @torch.no_grad()
    def step(self) -> None:
        out = self._model(self._token, past_key_values=self._cache, use_cache=True)
        self._token = out.logits[:, -1:].argmax(dim=-1)
