"""The library's Trainer, and what of it is ours: what a checkpoint holds, and when training stops.

Checkpoints hold the parameters that are trained and no model: one that is extended refuses to be
saved, since its encoding would not be in what is saved.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback

from ropewalk.core.errors import RopewalkError
from ropewalk.training.tuning.schedule import Schedule

WHOLE = "whole"
PARAMETERS = "trained.safetensors"


class NotFinite(RopewalkError):
    """A loss or a gradient that is not finite."""


class Tuner(Trainer):
    """Trains in the precision of a schedule over float32 weights, windows in their order."""

    saves_parameters_alone = True  # to integrations.guards, which refuses to save whole models

    def __init__(self, schedule: Schedule, **kwargs: Any) -> None:
        self.schedule = schedule
        super().__init__(**kwargs)
        self.add_callback(_WholeCheckpoints())

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **rest: Any
    ) -> Any:
        # With a cache the library no longer keeps packed documents apart.
        return super().compute_loss(model, {**inputs, "use_cache": False}, *args, **rest)

    def compute_loss_context_manager(self) -> Any:
        return self.schedule.autocast(self.args.device)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        if not math.isfinite(value := float(loss)):
            raise self._stopped(f"the loss is {value}")
        return loss

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        clip: Any = super()._clip_grad_norm
        norm = clip(model)
        # A loss may be finite where its gradient is not, and one update would spoil all weights.
        if not math.isfinite(value := float(norm)):
            raise self._stopped(f"the norm of the gradient is {value}")
        return norm

    @property
    def _folder(self) -> Path:
        return Path(str(self.args.output_dir))

    def _stopped(self, what: str) -> NotFinite:
        whole = [path.parent for path in self._folder.glob(f"checkpoint-*/{WHOLE}")]
        last = max(whole, key=lambda each: int(each.name.rpartition("-")[2]), default=None)
        kept = "nothing was learned before that" if last is None else f"the last good one is {last}"
        return NotFinite(
            f"step {self.state.global_step + 1}: {what}, so training stopped; {kept}; lower the "
            f"learning rate ({self.args.learning_rate:g}) and train into a new folder"
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        windows: Any = self.train_dataset
        return SequentialSampler(windows)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder, model = Path(output_dir or self._folder), self.model
        assert isinstance(model, nn.Module)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().contiguous() for name, value in trained_of(model)}
        save_file(tensors, folder / PARAMETERS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target: Any = model or self.model
        restore(target, Path(resume_from_checkpoint))


def trained_of(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that are trained; one that is tied to another comes once."""
    return ((name, each) for name, each in model.named_parameters() if each.requires_grad)


@torch.no_grad()
def restore(model: nn.Module, checkpoint: Path) -> None:
    """Put what a checkpoint holds into the model that it was taken of."""
    tensors = load_file(checkpoint / PARAMETERS)
    for name, parameter in trained_of(model):
        parameter.copy_(tensors[name])


class _WholeCheckpoints(TrainerCallback):
    """Marks a checkpoint once all of it is written."""

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()
