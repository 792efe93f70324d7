"""What an encoding costs in one attention layer, beside RoPE and beside x-transformers."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.attention import peak
from benchmarks.timing import Progress, Work, machine, part_of, race, silent
from ropewalk.attention.call import Call
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend_in
from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.score_mods import LayerShape
from ropewalk.methods.build import encoding

Way = Callable[[Tensor, Tensor, Tensor], Tensor]

HEADS, HEAD_DIM, WIDTH = 8, 64, 512
TRAINING_LENGTH, INFERENCE_LENGTH = 512, 4096
TRAINING_BATCH = 4
ROPE = "none"
SPECS = (
    ROPE, "nope", "alibi", "t5_bias", "kerple", "fire", "fox", "inkling:rel_extent=512",
    "shaw:tables=keys", "shaw", "xpos", "rope_values", "alibi+none",
)  # fmt: skip
GEOMETRY = RopeGeometry(head_dim=HEAD_DIM, rope_theta=1e4, trained_length=TRAINING_LENGTH)
PEER = "x-transformers"


def bench_encodings(
    *, specs: Sequence[str] = SPECS, rounds: int = 5, progress: Progress = silent
) -> dict[str, Any]:
    """CPU time of one attention layer under each encoding, in float32.

    ``ratios`` are times over those of RoPE through the same attention: ``training`` is forward and
    backward of a batch of 4 at 512 tokens, with gradients of queries, keys, values and all learned
    parameters, ``inference`` forward of one sequence of 4,096 tokens. ``memory`` is the peak of
    inference above its inputs and output, in bytes (None where the system does not say). Where
    x-transformers is installed, its own modules take part.
    """
    contenders: dict[str, Callable[[int], Way]] = {
        spec: partial(_ours, encoding(spec, GEOMETRY)) for spec in dict.fromkeys((ROPE, *specs))
    }
    contenders |= _theirs()
    settings = {
        "training": (TRAINING_BATCH, TRAINING_LENGTH),
        "inference": (1, INFERENCE_LENGTH),
    }
    ratios, timings, memory = {}, {}, {}
    for number, (name, (batch, length)) in enumerate(settings.items()):
        train = name == "training"
        inputs = _inputs(batch, length, wants_gradient=train)
        run = _step if train else _pass
        work: dict[str, Work] = {
            each: partial(run, make(length), inputs) for each, make in contenders.items()
        }
        if not train:
            memory = {each: peak(partial(_pass, make(length), inputs))
                      for each, make in contenders.items()}  # fmt: skip
        part = part_of(progress, number, len(settings), name)
        found = race(work, rounds=rounds, progress=part, clock=time.process_time)
        ratios[name], timings[name] = found.ratios(ROPE), found.document()
    return {
        "bench": "encodings",
        "ratios": ratios,
        "machine": machine(),
        "shape": {
            "heads": HEADS,
            "head_dim": HEAD_DIM,
            "width": WIDTH,
            "dtype": "float32",
            "training": list(settings["training"]),
            "inference": list(settings["inference"]),
        },
        "memory": memory,
        "timings": timings,
    }


def _ours(built: Encoding, length: int) -> Way:
    """As one of the layers of a pass; what is learned is of a model before training."""
    torch.manual_seed(0)
    shape = LayerShape(width=WIDTH, heads=HEADS, head_dim=HEAD_DIM)
    terms = {name: each.requires_grad_() for name, each in built.init(shape).items()}
    calls: dict[torch.Size, Call] = {}

    def way(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        call = calls.setdefault(q.shape, Call.causal(q, k))
        hidden = q.detach().transpose(1, 2).flatten(2)
        read = {**built.of_keys(terms, hidden), **built.of_queries(terms, hidden)}
        rotary = Rotary(encoding=built, parameters={**terms, **read})
        return attend_in(call, q, k, v, rotary, Softmax())

    return way


def _theirs() -> dict[str, Callable[[int], Way]]:
    if find_spec("x_transformers") is None:
        return {}
    theirs: Any = import_module("x_transformers.x_transformers")
    attend: Any = import_module("x_transformers.attend").Attend(causal=True, flash=True)

    def biased(bias: Any) -> Callable[[int], Way]:
        def way(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            out: Tensor = attend(q, k, v, attn_bias=bias(q.shape[2], k.shape[2]))[0]
            return out

        return lambda length: way

    def rotated(rotary: Any) -> Callable[[int], Way]:
        def way(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            angles, size = rotary(torch.arange(q.shape[2]))
            turn = theirs.apply_rotary_pos_emb
            inverse = size**-1 if isinstance(size, Tensor) else size
            out: Tensor = attend(turn(q, angles, size), turn(k, angles, inverse), v)[0]
            return out

        return lambda length: way

    t5 = theirs.RelativePositionBias(scale=HEAD_DIM**0.5, causal=True, heads=HEADS)
    return {
        f"{PEER} rope": rotated(theirs.RotaryEmbedding(HEAD_DIM)),
        f"{PEER} xpos": rotated(theirs.RotaryEmbedding(HEAD_DIM, use_xpos=True)),
        f"{PEER} alibi": biased(theirs.AlibiPositionalBias(HEADS)),
        f"{PEER} t5": biased(t5),
    }


def _inputs(batch: int, length: int, *, wants_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, HEADS, length, HEAD_DIM)
    q, k, v = (torch.randn(shape, generator=generator) for _ in range(3))
    return tuple(x.requires_grad_(wants_gradient) for x in (q, k, v))  # type: ignore[return-value]


def _step(way: Way, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    way(*inputs).sum().backward()


@torch.no_grad()
def _pass(way: Way, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return way(*inputs)
