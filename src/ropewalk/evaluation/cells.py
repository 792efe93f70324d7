"""A cell: one method, in one mode, at one length; what was measured of it, or why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ropewalk.core.passes import Pass
from ropewalk.evaluation.protocols.protocol import Sharing
from ropewalk.evaluation.tasks.task import Task
from ropewalk.evaluation.units import LOSS, Unit
from ropewalk.methods.spec import Spec

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of a table.

    method  its text is shown; its canonical spelling, with every factor a number, decides the value
    task    ``Task.text`` of what is measured
    """

    method: Spec
    split: Pass
    length: int
    task: str = LOSS.name

    def record(self, values: Mapping[str, Any]) -> Record:
        """The cell as one JSON object; what ``values`` lacks is null."""
        names = {"method": self.method.text, "mode": self.split.name, "length": self.length}
        record = {**names, **dict.fromkeys(_VALUES), **values}
        if self.task == LOSS.name:
            return record
        own = {**dict.fromkeys(_TASK_VALUES), "task": self.task.partition(":")[0]}
        return {**own, **record}


_VALUES = (
    "documents", "tokens_scored", "nll", "ppl", "bits_per_byte", "ci95", "ci95_over",
    "seconds", "peak_memory_bytes", "threads", "status", "reason",
)  # fmt: skip
_TASK_VALUES = (
    "task", "metric", "value", "trials", "forced", "generation", "depths", "longppl",
)  # fmt: skip
"""Of what is not the loss of all tokens, in whose fields such a cell has null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A cell that ran.

    seconds            of its passes; a pass that served several lengths is shared out in
                       proportion to them
    peak_memory_bytes  of its passes, above the level before them; None where unknown, and
                       for all but the longest length of shared passes
    threads            of torch, in the process that ran it: what the last bits depend on
    """

    cell: Cell
    task: Task
    units: tuple[Unit, ...]
    seconds: float
    peak_memory_bytes: int | None
    threads: int | None = None

    def record(self) -> Record:
        """The figures of the task, and what they took."""
        return self.cell.record(
            {
                **self.task.fields(self.units),
                "seconds": self.seconds,
                "peak_memory_bytes": self.peak_memory_bytes,
                "threads": self.threads,
                "status": "ok",
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A cell that could not run."""

    cell: Cell
    reason: str
    units: ClassVar[tuple[Unit, ...]] = ()

    def record(self) -> Record:
        """Everything but the reason is null."""
        return self.cell.record({"status": "failed", "reason": self.reason})


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A cell that did not fit a budget, with the seconds that it takes by estimate."""

    cell: Cell
    seconds: float
    reason: str

    def record(self) -> Record:
        """Everything but the estimated seconds and the reason is null."""
        values = {"status": "skipped", "seconds": self.seconds, "reason": self.reason}
        return self.cell.record(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A cell of a dry run, with the seconds that it will take by estimate."""

    cell: Cell
    seconds: float

    def record(self) -> Record:
        """Everything but the estimated seconds is null."""
        return self.cell.record({"status": "planned", "seconds": self.seconds})


Result = Measurement | Failure
"""What a run keeps of a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A method in one mode over lengths of its own.

    sharing  ``SharedPasses`` if a token's loss depends on earlier tokens only and the
             method is one model at all ``lengths``; else ``OnePassPerLength``
    task     as in ``Cell``
    """

    method: Spec
    split: Pass
    lengths: tuple[int, ...]
    sharing: Sharing
    task: str = LOSS.name
