"""Train a small causal decoder, stop at any moment, go on later with the same numbers.

Matrices of the blocks are updated by Muon with the rate of AdamW (Liu et al. 2025,
arXiv:2502.16982, section 2.2) or by AdamW, everything else by AdamW. Forward and backward run in
bfloat16 autocast over float32 weights, where the machine multiplies bfloat16 itself.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Muon, Optimizer

from ropewalk.core.errors import RopewalkError
from ropewalk.storage.files import write_whole
from ropewalk.training.checkpoint import Checkpoint
from ropewalk.training.corpus import Windows
from ropewalk.training.schedule import WarmupStableDecay

ENCODING_TERMS = "encoding_terms"
"""In the names of parameters that an encoding has."""


class Matrices(Enum):
    """What updates the matrices of blocks."""

    MUON = "muon"
    ADAMW = "adamw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, besides the model's shape and the corpus.

    matrices  Muon learns more from a token. Its products are bfloat16, whatever the machine: on one
              that emulates them a step of a small model is twice as fast under AdamW
    """

    windows: Windows
    schedule: WarmupStableDecay
    peak_lr: float = 3e-3
    weight_decay: float = 0.1
    gradient_clip: float = 1.0
    matrices: Matrices = Matrices.MUON
    checkpoint_every_steps: int = 100

    @property
    def tokens_per_step(self) -> int:
        return self.windows.length * self.windows.batch_size

    def kept_of(self, steps: int) -> str:
        """The checkpoint that stands after so many steps, in words."""
        kept = steps - steps % self.checkpoint_every_steps
        return (
            f"the last good checkpoint is of step {kept}" if kept else "no checkpoint was written"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One line of the training log. ``loss`` in nats per token."""

    step: int
    tokens: int
    loss: float
    lr: float
    seconds: float


def fast_dtype() -> torch.dtype:
    """bfloat16 where the CPU has instructions for its products, else float32.

    oneDNN supports bfloat16 on every CPU with AVX-512, but emulates it without these, at a quarter
    of float32's speed.
    """
    told = getattr(torch.cpu, "get_capabilities", dict)  # torch before 2.11 cannot tell
    has: Mapping[str, object] = told()
    native = any(has.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))  # the last is ARM's
    return torch.bfloat16 if native else torch.float32


def causal_loss(
    model: nn.Module, dtype: torch.dtype = torch.bfloat16
) -> Callable[[Tensor], Tensor]:
    """Mean loss in nats of ids ``[b, n + 1]``; worth a ``torch.compile`` (twice as fast).

    dtype  of products; float32 for no autocast
    """
    mixed = dtype != torch.float32

    def loss_of(batch: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            logits = model(batch[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())

    return loss_of


def train(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    tokens: Tensor,
    recipe: Recipe,
    folder: Path,
) -> Iterator[StepRecord]:
    """Train ``model`` in place from the checkpoint in ``folder``, if there is one.

    ``loss_of`` is ``causal_loss(model)``, compiled or not. Yields a record after each step;
    the caller draws progress, or stops early by leaving the loop. ``folder`` gets
    ``checkpoint.safetensors`` and ``log.jsonl``.

    Raises RopewalkError where a loss or a gradient is not finite, before weights take it up: the
    last checkpoint is good, and of the steps after it only the log is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizers = _optimizers(model, recipe)
    checkpoint = Checkpoint(folder / "checkpoint.safetensors")
    first_step = checkpoint.restore(model, optimizers)
    _write_recipe(recipe, folder)
    log_file = folder / "log.jsonl"
    _forget_steps(log_file, first_step)
    model.train()
    with log_file.open("a", encoding="utf-8") as log:
        for step in range(first_step, recipe.schedule.total_steps):
            record = _step(model, loss_of, optimizers, recipe, tokens, step)
            log.write(json.dumps(asdict(record)) + "\n")
            log.flush()
            done = step + 1
            if done % recipe.checkpoint_every_steps == 0 or done == recipe.schedule.total_steps:
                checkpoint.save(model, optimizers, done)
            yield record


def _step(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    optimizers: list[Optimizer],
    recipe: Recipe,
    tokens: Tensor,
    step: int,
) -> StepRecord:
    started = time.perf_counter()
    lr = recipe.peak_lr * recipe.schedule.multiplier(step)
    loss = loss_of(recipe.windows.batch(tokens, step))
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    value = loss.item()
    # A loss may be finite where its gradient is not, and one update would spoil all weights.
    if not (math.isfinite(value) and math.isfinite(float(norm))):
        raise RopewalkError(
            f"step {step + 1}: the loss is {value:.4g} and the norm of its gradient "
            f"{float(norm):.4g}, so training stopped; {recipe.kept_of(step)}; lower the learning "
            f"rate ({recipe.peak_lr:g}) and train into a new folder"
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return StepRecord(
        step=step,
        tokens=(step + 1) * recipe.tokens_per_step,
        loss=round(value, 5),
        lr=lr,
        seconds=round(time.perf_counter() - started, 3),
    )


def _optimizers(model: nn.Module, recipe: Recipe) -> list[Optimizer]:
    matrices, others, vectors = [], [], []
    for name, parameter in model.named_parameters():
        # Tables and small networks of an encoding are no matrices of a block.
        if parameter.ndim != 2 or ENCODING_TERMS in name:
            vectors.append(parameter)
        elif "embed" in name or "lm_head" in name:
            others.append(parameter)
        else:
            matrices.append(parameter)
    lr, decay, muon = recipe.peak_lr, recipe.weight_decay, recipe.matrices is Matrices.MUON
    groups = [
        {"params": others if muon else [*others, *matrices], "weight_decay": decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adamw = AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)
    if not muon:
        return [adamw]
    return [Muon(matrices, lr=lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"), adamw]


def _write_recipe(recipe: Recipe, folder: Path) -> None:
    plain = {**asdict(recipe), "matrices": recipe.matrices.value}
    (folder / "recipe.json").write_text(json.dumps(plain, indent=2) + "\n", "utf-8")


def _forget_steps(log_file: Path, first_step: int) -> None:
    """Drop the lines of steps that ran after the checkpoint: they are about to run again."""
    if not log_file.exists():
        return
    lines = log_file.read_text("utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = [line for line in whole if json.loads(line)["step"] < first_step]
    write_whole(log_file, "".join(kept).encode())
