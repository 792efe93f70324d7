"""Weights and optimizer state in one safetensors file, written whole or not at all."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

STEP = "step"


class Checkpoint:
    """The state of a training run after a whole number of steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, model: nn.Module, optimizers: list[Optimizer], step: int) -> None:
        tensors = {f"model.{k}": v for k, v in _parameters(model).items()}
        for number, optimizer in enumerate(optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
        tensors[STEP] = torch.tensor(step)
        partial = self.path.with_suffix(".partial")
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, partial)
        os.replace(partial, self.path)

    def restore(self, model: nn.Module, optimizers: list[Optimizer]) -> int:
        """Load what was saved; the number of steps done, 0 without a checkpoint."""
        if not self.path.exists():
            return 0
        tensors = load_file(self.path)
        with torch.no_grad():
            for name, parameter in _parameters(model).items():
                parameter.copy_(tensors[f"model.{name}"])
        for number, optimizer in enumerate(optimizers):
            state_dict = optimizer.state_dict()
            state_dict["state"] = _optimizer_state(tensors, f"optimizer.{number}.")
            optimizer.load_state_dict(state_dict)
        return int(tensors[STEP])


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters())


def _optimizer_state(tensors: dict[str, Tensor], prefix: str) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            index, key = name.removeprefix(prefix).split(".", 1)
            state.setdefault(int(index), {})[key] = value
    return state
