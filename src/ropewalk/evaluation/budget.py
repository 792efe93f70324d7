"""A time budget: what fits into some seconds, judged by the speed of what ran before.

A job's seconds are its cost (``cost.py``) times the seconds that a token equivalent took: in the
last cell of the same method and mode, or else in a timed pass of the unchanged model.
"""

import time
from collections.abc import Sequence

from ropewalk.evaluation.cells import Measurement, Result, Skip
from ropewalk.evaluation.cost import CostModel
from ropewalk.evaluation.jobs import Job
from ropewalk.methods.spec import Spec


class Budget:
    """So many seconds from ``begun`` (of ``time.monotonic``) on."""

    def __init__(self, seconds: float, begun: float, cost_model: CostModel) -> None:
        self.seconds = seconds
        self._end, self._cost_model = begun + seconds, cost_model
        self._rates: dict[tuple[Spec, str, str], float] = {}

    def fits(self, job: Job) -> bool:
        """Whether a job that begins now ends in time."""
        return time.monotonic() + self._estimate(job) <= self._end

    def note(self, results: Sequence[Result]) -> None:
        """Learn from the cells of a job that has just run."""
        ran = [result for result in results if isinstance(result, Measurement)]
        if ran:
            cell, lengths = ran[0].cell, [each.cell.length for each in ran]
            cost = ran[0].task.cost(lengths, cell.split)
            rate = sum(each.seconds for each in ran) / cost
            self._rates[cell.method, cell.split.name, cell.task] = rate

    def skipped(self, job: Job, length: int) -> Skip:
        """The cell of a length that does not fit."""
        seconds = self._estimate(job) * length / sum(job.lengths)
        reason = f"did not fit the budget of {self.seconds:g} s; run again to go on"
        return Skip(cell=job.cell(length), seconds=seconds, reason=reason)

    def _estimate(self, job: Job) -> float:
        key = (job.method, job.split.name, job.task_text)
        return self._rates.get(key, self._cost_model.seconds_per_token) * job.cost
