"""What people do with a model beside generating, done to a tiny one under an extension.

Each use is compared with the same model used plainly: a figure is the largest difference of a
logit, or that of a gradient relative to its parts; text is the refusal or the error, which may be
the library's own without any extension.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import cpu_offload
from peft import LoraConfig, get_peft_model
from torch import nn

import ropewalk as rw
from recipes.families.sharpened import left_padded, logits, token_ids

LENGTH = 48
STATIC, VARYING = "yarn:factor=2.5", "dynamic_ntk:step=8"
Extend = Callable[[nn.Module, str], AbstractContextManager[Any]]
"""``rw.extend``, or what stands for it where there is to be none."""
STEP = 3e-4
"""Of a finite difference; some families keep norms in float32."""


def threads(model: nn.Module, extend: Extend) -> float:
    """Four left-padded batches at once, and each alone."""
    mate = token_ids(1, LENGTH)
    batches = [left_padded(token_ids(1, n, seed=n), LENGTH, mate) for n in (31, 36, 40, 44)]

    def run(number: int) -> torch.Tensor:
        ids, mask = batches[number % 4]
        return logits(model, ids, attention_mask=mask, use_cache=False)

    with extend(model, VARYING):
        alone = [run(number) for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(run, range(12)))
    return max(_largest(x, alone[number % 4]) for number, x in enumerate(found))


def training(model: nn.Module, extend: Extend) -> float:
    """The gradient along a random direction of all parameters, and the finite difference."""
    ids, generator = token_ids(1, LENGTH), torch.Generator().manual_seed(0)
    moved = {
        name: torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.detach().std()
        for name, p in model.named_parameters()
        if p.numel() > 1 and "gate" not in name and "router" not in name
    }
    parameters = dict(model.named_parameters())

    def loss() -> torch.Tensor:
        return model(ids, use_cache=False).logits.square().mean()

    with extend(model, VARYING):
        loss().backward()
        parts = [
            float((parameters[name].grad * d).sum())
            for name, d in moved.items()
            if parameters[name].grad is not None
        ]
        values = []
        for step in (STEP, -2 * STEP):
            with torch.no_grad():
                for name, d in moved.items():
                    parameters[name] += step * d
                values.append(float(loss()))
    slope = (values[0] - values[1]) / (2 * STEP)
    return abs(sum(parts) - slope) / sum(map(abs, parts))


def compiled(model: nn.Module, extend: Extend) -> float:
    """One graph after another by torch.compile, under a static method."""
    ids = token_ids(1, LENGTH)
    with extend(model, STATIC):
        expected = logits(model, ids, use_cache=False)
        fast = torch.compile(model, backend="eager")
        return _largest(logits(fast, ids, use_cache=False), expected)


def adapters(model: nn.Module, extend: Extend) -> float:
    """LoRA on all linear layers, and the same merged into the weights."""
    ids = token_ids(1, LENGTH)
    wanted = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(model, wanted).eval()
    merged = copy.deepcopy(adapted).merge_and_unload()
    with extend(adapted, VARYING), extend(merged, VARYING):
        return _largest(logits(adapted, ids, use_cache=False), logits(merged, ids, use_cache=False))


def offload(model: nn.Module, extend: Extend) -> float:
    """accelerate's offload before ``extend``, and the model without it."""
    ids = token_ids(1, LENGTH)
    with extend(model, VARYING):
        expected = logits(model, ids, use_cache=False)
    cpu_offload(model)
    with extend(model, VARYING):
        return _largest(logits(model, ids, use_cache=False), expected)


USES: dict[str, Callable[[nn.Module, Extend], float]] = {
    "threads": threads,
    "training": training,
    "compile": compiled,
    "PEFT": adapters,
    "offload": offload,
}


def used(build: Callable[[], nn.Module]) -> dict[str, float | str]:
    """Every use, each of a model of its own."""
    return {name: _outcome(use, build) for name, use in USES.items()}


def _outcome(
    use: Callable[[nn.Module, Extend], float], build: Callable[[], nn.Module]
) -> float | str:
    try:
        return use(build(), rw.extend)
    except Exception as error:  # any type may come from some fifty families
        told = " ".join(str(error).split())[:160] or type(error).__name__
    try:
        use(build(), lambda model, spec: nullcontext())
    except Exception as own:
        return f"nor without an extension: {' '.join(str(own).split())[:80]}"
    return told


def _largest(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x - y).abs().nan_to_num(nan=torch.inf).max())
