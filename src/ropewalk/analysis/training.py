"""What training showed each pair of channels: the angles of every stage that a checkpoint had."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """Frequencies ``[f]``, radians a token, and the tokens of the longest context."""

    inv_freq: Tensor
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Stages, at least one: pretraining, and a scaling that the checkpoint was tuned to."""

    stages: tuple[Stage, ...]

    @property
    def largest_angles(self) -> Tensor:
        """Radians ``[f]`` between the first and the last token, of the stage that showed most."""
        shown = [stage.inv_freq * (stage.length - 1) for stage in self.stages]
        return torch.stack(shown).amax(dim=0)

    def leaves(self, largest: Tensor) -> Tensor:
        """Bool ``[f]``: pairs whose largest angle, in radians, is new to them.

        A pair that completed a turn has seen every angle; one that stands still shows none.
        """
        bounds = torch.stack([stage.inv_freq * stage.length for stage in self.stages])
        bound = bounds.amax(dim=0)
        return (bound < 2 * math.pi) & (largest >= bound) & (largest > 0)
