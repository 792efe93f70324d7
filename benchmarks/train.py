"""What a training step costs under a method, beside the model as it is."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.models import extended_copy
from benchmarks.timing import Progress, machine, part_of, race, silent

STOCK = "stock"
LENGTHS = (1024, 4096)
METHODS = (
    "yarn:factor=4",
    "dynamic_ntk",
    "log_n",
    "rerope:window=512",
    "self_extend:group_size=8,window=512",
    "dual_chunk:chunk_size=768,local_window=256",
)
"""Of one map, through both seams, and of several."""
TRAINED_LENGTH = 1024
SHAPE: dict[str, Any] = {
    "vocab_size": 8192,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "max_position_embeddings": TRAINED_LENGTH,
}
"""Of SmolLM2-135M, but for fewer layers, a smaller vocabulary and a shorter trained length."""


def bench_train(
    *,
    lengths: Sequence[int] = LENGTHS,
    methods: Sequence[str] = METHODS,
    layers: int = 2,
    rounds: int = 5,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Time of forward and backward of one sequence in float32, on the CPU, without an optimizer.

    lengths  in tokens
    methods  specs over a decoder of random weights and a trained length of 1,024
    layers   of it
    rounds   in each, every contender runs once

    ``ratios`` are times over those of the model without an extension, in training mode, on
    transformers' own attention (sdpa).
    """
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, num_hidden_layers=layers))
    twins: dict[str, nn.Module] = {STOCK: copy.deepcopy(model)}
    twins |= {spec: extended_copy(model, spec) for spec in methods}
    timings = {}
    for number, length in enumerate(lengths):
        ids = torch.randint(SHAPE["vocab_size"], (1, length))
        work = {name: partial(_step, twin.train(), ids) for name, twin in twins.items()}
        part = part_of(progress, number, len(lengths), f"{length:,} tokens")
        timings[str(length)] = race(work, rounds=rounds, progress=part)
    return {
        "bench": "train",
        "ratios": {length: each.ratios(STOCK) for length, each in timings.items()},
        "machine": machine(),
        "shape": {**SHAPE, "num_hidden_layers": layers, "dtype": "float32"},
        "lengths": list(lengths),
        "methods": list(methods),
        "rounds": rounds,
        "timings": {length: each.document() for length, each in timings.items()},
    }


def _step(model: Any, ids: Tensor) -> None:
    model.zero_grad(set_to_none=True)
    model(ids, labels=ids, use_cache=False).loss.backward()
