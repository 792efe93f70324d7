"""Warmup-stable-decay: a learning-rate schedule that may stop at any time.

    warmup   lr rises linearly over ``warmup_steps``
    stable   lr = peak
    decay    lr = peak * (1 - sqrt(t)),  t in [0, 1] over the last ``decay_fraction`` of the steps

The stable part does not know the total, so a run may be resumed with another
``total_steps`` for as long as its decay has not begun.

Source: Haegele et al. 2024, Scaling Laws and Compute-Optimal Training Beyond Fixed
Training Durations, arXiv:2405.18392, section 3 (constant rate, 1-sqrt cooldown).
"""

import math
from dataclasses import dataclass

from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupStableDecay:
    """Multiplier of the peak learning rate as a pure function of the step."""

    total_steps: int
    warmup_steps: int = 100
    decay_fraction: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.decay_fraction <= 1:
            raise RopewalkError(
                f"decay_fraction={self.decay_fraction}: expected a share of the run between 0 and 1"
            )
        if self.total_steps < 1:
            raise RopewalkError(f"total_steps={self.total_steps}: expected at least 1")
        if self.warmup_steps < 0:
            raise RopewalkError(f"warmup_steps={self.warmup_steps}: expected at least 0")

    @property
    def decay_start(self) -> int:
        return self.total_steps - round(self.total_steps * self.decay_fraction)

    def multiplier(self, step: int) -> float:
        """Share of the peak rate at ``step`` (0-based), in [0, 1]."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if step < self.decay_start:
            return 1.0
        decayed = (step - self.decay_start) / max(self.total_steps - self.decay_start, 1)
        return max(0.0, 1.0 - math.sqrt(decayed))
