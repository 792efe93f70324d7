"""What a tuning does between steps: measures, tells how far it is, watches the clock."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class EverySteps(TrainerCallback):
    """Calls ``measure`` with the number of steps done, every so many of them, not at the end."""

    def __init__(self, every: int, measure: Callable[[int], None]) -> None:
        self.every, self.measure = every, measure

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        step = state.global_step
        if self.every and step % self.every == 0 and step < state.max_steps:
            self.measure(step)


class Told(TrainerCallback):
    """Tells each step that is done, of how many, and its loss in nats a token."""

    def __init__(self, told: Callable[[int, int, float], None]) -> None:
        self.told = told

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
        if logs and "loss" in logs:
            self.told(state.global_step, state.max_steps, float(logs["loss"]))


class Deadline(TrainerCallback):
    """Stops after the step in which ``time.monotonic()`` passes ``at``."""

    def __init__(self, at: float) -> None:
        self.at = at

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if time.monotonic() >= self.at:
            control.should_training_stop = True
