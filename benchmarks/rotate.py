"""Rotation of queries and keys beside copying them, and beside other libraries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Progress, Work, machine, part_of, race, silent
from ropewalk.core.geometry import rope_inv_freq
from ropewalk.core.rotation import Turn

HEADS, KEY_HEADS, HEAD_DIM, ROPE_THETA = 32, 8, 128, 10_000.0
DTYPES = (torch.float32, torch.bfloat16)
COPY, OURS, AT_HAND = "clone", "ropewalk", "ropewalk, cos and sin at hand"
TRANSFORMERS = "transformers"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """Queries and keys ``[1, h, n, d]``, and the angles ``[n, f]`` of their positions."""

    q: Tensor
    k: Tensor
    angles: Tensor

    @classmethod
    def of(cls, tokens: int, dtype: torch.dtype) -> "_Case":
        generator = torch.Generator().manual_seed(0)
        q, k = (
            torch.randn(1, heads, tokens, HEAD_DIM, generator=generator).to(dtype)
            for heads in (HEADS, KEY_HEADS)
        )
        positions = torch.arange(tokens, dtype=torch.float64)
        return cls(q=q, k=k, angles=positions[:, None] * rope_inv_freq(HEAD_DIM, ROPE_THETA))


def bench_rotate(
    *, tokens: int = 4096, rounds: int = 30, progress: Progress = silent
) -> dict[str, Any]:
    """``q`` ``[1, 32, n, 128]`` and ``k`` ``[1, 8, n, 128]`` rotated, in float32 and bfloat16.

    tokens  n
    rounds  in each, every contender runs once

    Contenders: ``clone`` of both; Ropewalk, cosines and sines included, and with these at hand, as
    all layers of a model but the first have them; transformers, also with these at hand;
    x-transformers and rotary-embedding-torch where they are installed.

    ``ratios`` are times over that of ``clone``, and ``speedup_over_transformers`` is that of
    Ropewalk, cosines and sines included.
    """
    timings = {}
    for number, dtype in enumerate(DTYPES):
        name = str(dtype).removeprefix("torch.")
        part = part_of(progress, number, len(DTYPES), name)
        contenders = dict(_contenders(_Case.of(tokens, dtype)))
        timings[name] = race(contenders, rounds=rounds, warmups=3, progress=part)
    return {
        "bench": "rotate",
        "ratios": {name: each.ratios(COPY) for name, each in timings.items()},
        "speedup_over_transformers": {
            name: each.ratio(TRANSFORMERS, OURS).document() for name, each in timings.items()
        },
        "machine": machine(),
        "shapes": {"q": [1, HEADS, tokens, HEAD_DIM], "k": [1, KEY_HEADS, tokens, HEAD_DIM]},
        "rounds": rounds,
        "timings": {name: each.document() for name, each in timings.items()},
    }


def _contenders(case: _Case) -> Iterator[tuple[str, Work]]:
    yield COPY, lambda: (case.q.clone(), case.k.clone())
    yield OURS, lambda: _rotated(case, _turn(case))
    turn = _turn(case)
    yield AT_HAND, lambda: _rotated(case, turn)
    yield TRANSFORMERS, _transformers(case)
    for name, make in _OTHERS.items():
        try:
            yield name, make(case)
        except ImportError:
            continue


def _turn(case: _Case) -> Turn:
    return Turn.by(case.angles, dtype=case.q.dtype)


def _rotated(case: _Case, turn: Turn) -> tuple[Tensor, Tensor]:
    return turn.of(case.q), turn.of(case.k)


def _transformers(case: _Case) -> Work:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    twice = torch.cat([case.angles, case.angles], dim=-1)[None]
    cos, sin = twice.cos().to(case.q.dtype), twice.sin().to(case.q.dtype)
    return lambda: apply_rotary_pos_emb(case.q, case.k, cos, sin)


def _x_transformers(case: _Case) -> Work:
    apply = import_module("x_transformers.x_transformers").apply_rotary_pos_emb
    angles = case.angles.float().repeat_interleave(2, dim=-1)[None]
    return lambda: (apply(case.q, angles), apply(case.k, angles))


def _rotary_embedding_torch(case: _Case) -> Work:
    apply = import_module("rotary_embedding_torch").apply_rotary_emb
    angles = case.angles.float().repeat_interleave(2, dim=-1)
    return lambda: (apply(angles, case.q), apply(angles, case.k))


_OTHERS: dict[str, Callable[[_Case], Work]] = {
    "x-transformers": _x_transformers,
    "rotary-embedding-torch": _rotary_embedding_torch,
}
