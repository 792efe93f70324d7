"""What a measurement tells while it runs."""

from typing import Protocol

from ropewalk.evaluation.cells import Result
from ropewalk.evaluation.choosing import Choice
from ropewalk.evaluation.jobs import Job


class Progress(Protocol):
    """Callbacks. Costs are in token equivalents (``cost.py``): shares of the whole."""

    def chosen(self, choice: Choice) -> None:
        """What is measured where methods or lengths were left open."""
        ...

    def planned(self, cost: float) -> None:
        """Before the first job: the cost of all that is left to do."""
        ...

    def started(self, job: Job, cost: float) -> None:
        """A job begins."""
        ...

    def advanced(self, job: Job, cost: float) -> None:
        """One more sequence went through the model."""
        ...

    def finished(self, result: Result) -> None:
        """A cell is done and stored, now or in an earlier run."""
        ...


class Silent:
    """Tells nothing."""

    def chosen(self, choice: Choice) -> None:
        return None

    def planned(self, cost: float) -> None:
        return None

    def started(self, job: Job, cost: float) -> None:
        return None

    def advanced(self, job: Job, cost: float) -> None:
        return None

    def finished(self, result: Result) -> None:
        return None
