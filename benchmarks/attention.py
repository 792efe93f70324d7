"""What multi-region attention costs, against causal attention and the dense way."""

import ctypes
import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.timing import Progress, machine, part_of, race, silent
from ropewalk.attention.call import Call
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend_in
from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rotation import rotate
from ropewalk.evaluation.memory import ResidentMemory
from ropewalk.methods.build import encoding

Way = Callable[[Tensor, Tensor, Tensor], Tensor]

QUERY_HEADS, KEY_HEADS, HEAD_DIM = 9, 3, 64
"""Of SmolLM2-135M."""
GEOMETRY = RopeGeometry(head_dim=HEAD_DIM, rope_theta=1e5, trained_length=8192)
LENGTHS = (2048, 4096, 8192, 16384)
METHODS = (
    "rerope:window=1024",
    "self_extend:group_size=8,window=1024",
    "dual_chunk:chunk_size=6144,local_window=2048",
)
CAUSAL, DENSE = "causal", "dense rerope"
DENSE_WINDOW = 1024
DENSE_SHARE = 1 / 3
"""Of the machine's memory, for the three score matrices of the dense way; else it does not run."""


def bench_attention(
    *,
    lengths: Sequence[int] = LENGTHS,
    methods: Sequence[str] = METHODS,
    rounds: int = 5,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Time and peak memory of one layer's full pass in float32, on the CPU.

    lengths  in tokens
    methods  specs over the geometry of SmolLM2-135M
    rounds   in each, every contender runs once

    ``ratios`` are times over that of causal ``scaled_dot_product_attention``, which gets queries
    and keys as they are; the others rotate theirs within the time. ``dense rerope`` is what public
    ReRoPE code does: two whole score matrices, joined by a mask. ``memory`` is the peak above
    inputs and output, in bytes (None where the system does not say). What all layers of a model
    share is worked out in a round that is not timed.
    """
    contenders: dict[str, Way] = {CAUSAL: _causal, DENSE: _dense}
    contenders |= {spec: _tiled(encoding(spec, GEOMETRY)) for spec in methods}
    timings, memory = {}, {}
    for number, length in enumerate(lengths):
        inputs = _inputs(length)
        work = {name: partial(way, *inputs) for name, way in contenders.items()}
        if 3 * 4 * QUERY_HEADS * length**2 > DENSE_SHARE * _memory_of_the_machine():
            del work[DENSE]
        part = part_of(progress, number, len(lengths), f"{length:,} tokens")
        memory[str(length)] = {name: peak(run) for name, run in work.items()}
        timings[str(length)] = race(work, rounds=rounds, progress=part)
    return {
        "bench": "attention",
        "ratios": {length: each.ratios(CAUSAL) for length, each in timings.items()},
        "machine": machine(),
        "shape": {
            "query_heads": QUERY_HEADS,
            "key_heads": KEY_HEADS,
            "head_dim": HEAD_DIM,
            "dtype": "float32",
        },
        "lengths": list(lengths),
        "methods": list(methods),
        "memory": memory,
        "timings": {length: each.document() for length, each in timings.items()},
    }


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def _tiled(built: Encoding) -> Way:
    """As one of the layers of a pass: the first run of each length makes what they share."""
    calls: dict[int, Call] = {}

    def way(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        call = calls.setdefault(q.shape[2], Call.causal(q, k))
        return attend_in(call, q, k, v, Rotary(encoding=built), Softmax())

    return way


def _dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Source: bojone/rerope, ``rerope_patch.py`` at acfe788."""
    k, v = (x.repeat_interleave(QUERY_HEADS // KEY_HEADS, dim=1) for x in (k, v))
    index = torch.arange(q.shape[2])
    near = rotate(q, _angles(index)) @ rotate(k, _angles(index)).mT
    far = rotate(q, _angles(torch.full_like(index, DENSE_WINDOW))) @ k.mT
    distance = index[:, None] - index
    scores = torch.where(distance < DENSE_WINDOW, near, far) * HEAD_DIM**-0.5
    probabilities: Tensor = scores.masked_fill_(distance < 0, float("-inf")).softmax(dim=-1)
    return probabilities @ v


def _inputs(length: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(1, heads, length, HEAD_DIM, generator=generator)
        for heads in (QUERY_HEADS, KEY_HEADS, KEY_HEADS)
    )
    return q, k, v


def _angles(positions: Tensor) -> Tensor:
    return encoding("none", GEOMETRY).rotation.angles(positions, GEOMETRY.trained_length)


def peak(work: Callable[[], Tensor]) -> int | None:
    """Peak bytes above inputs and output of the second of two runs."""
    work()
    _give_back_free_memory()
    with ResidentMemory().watch() as reading:
        out = work()
    if reading.peak_bytes is None:
        return None
    return max(0, reading.peak_bytes - out.numel() * out.element_size())


def _give_back_free_memory() -> None:
    """Else what earlier work freed is used again and not counted. glibc alone can."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _memory_of_the_machine() -> int:
    """Bytes; 0 where the system does not say."""
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
