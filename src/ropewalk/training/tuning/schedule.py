"""How a stage is trained, in numbers."""

from dataclasses import dataclass

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

    Raises RopewalkError for numbers that no run can have.
    """

    steps: int
    batch: int
    at_once: int
    learning_rate: float
    save_every: int
    seed: int

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
