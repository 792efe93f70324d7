"""How a stage is trained, in numbers."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a stage is trained.

    batch          windows a step
    at_once        of them that go through the model at once; divides ``batch``
    learning_rate  peak of AdamW (0.9, 0.95), no weight decay: linear warm-up over a tenth of the
                   steps, at most 20; constant; 1 - sqrt over the last quarter (as in
                   ``training.schedule``)
    save_every     steps between checkpoints
    precision      of forward and backward, over float32 weights; None for bfloat16 on a GPU and
                   float32 on a CPU, many of which multiply bfloat16 some 30 times slower

    Raises RopewalkError for numbers that no run can have.
    """

    steps: int
    batch: int
    at_once: int
    learning_rate: float
    save_every: int
    seed: int
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        if min(self.batch, self.at_once, self.save_every, self.steps) < 1:
            raise RopewalkError(
                f"{self.steps} steps of {self.batch} windows, {self.at_once} at once, saved every "
                f"{self.save_every}: expected at least 1 of each"
            )
        if self.batch % self.at_once:
            raise RopewalkError(
                f"{self.at_once} windows at once of {self.batch} a step: expected a divisor"
            )
        if not 0 < self.learning_rate < 1:
            raise RopewalkError(
                f"learning rate {self.learning_rate}: expected a number above 0 and below 1"
            )

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """In which forward and loss run."""
        on_device = torch.float32 if device.type == "cpu" else torch.bfloat16
        precision = self.precision or on_device
        if precision == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, dtype=precision)
