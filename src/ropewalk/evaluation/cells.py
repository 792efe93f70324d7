"""A cell: one method, in one mode, at one length; what was measured of it, or why not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ropewalk.core.passes import Pass
from ropewalk.evaluation.averages import Average
from ropewalk.evaluation.bootstrap import OVER_TOKENS, UnitSum, interval, mean_nll
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol, Sharing

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMethod:
    """A method as typed, and with every parameter that decides its value."""

    text: str
    canonical: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of a table."""

    method: CellMethod
    split: Pass
    length: int

    def record(self, values: Mapping[str, Any]) -> Record:
        """The cell as one JSON object; what ``values`` lacks is null."""
        names = {"method": self.method.text, "mode": self.split.name, "length": self.length}
        return {**names, **dict.fromkeys(_VALUES), **values}


_VALUES = (
    "documents", "tokens_scored", "nll", "ppl", "bits_per_byte", "ci95", "ci95_over",
    "seconds", "peak_memory_bytes", "status", "reason",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A cell that ran.

    seconds            of its passes; a pass that served several lengths is shared out in
                       proportion to them
    peak_memory_bytes  of its passes, above the level before them; None where unknown, and
                       for all but the longest length of shared passes
    average            the protocol's
    """

    cell: Cell
    units: tuple[UnitSum, ...]
    seconds: float
    peak_memory_bytes: int | None
    average: Average = OVER_TOKENS

    def record(self) -> Record:
        """nll in nats per token, ppl = exp(nll), ci95 = [low, high] of nll."""
        nll = mean_nll(self.units, self.average)
        spread = interval(self.units, self.average)
        total_bytes = sum(unit.bytes for unit in self.units)
        total_nll = sum(unit.nll for unit in self.units)
        values = {
            "documents": len({unit.document for unit in self.units}),
            "tokens_scored": sum(unit.tokens for unit in self.units),
            "nll": nll,
            "ppl": math.exp(nll) if nll < 700 else None,
            "bits_per_byte": total_nll / math.log(2) / total_bytes if total_bytes else None,
            "ci95": [spread.low, spread.high] if spread else None,
            "ci95_over": spread.drawn if spread else None,
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "status": "ok",
        }
        return self.cell.record(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A cell that could not run."""

    cell: Cell
    reason: str
    units: ClassVar[tuple[UnitSum, ...]] = ()

    def record(self) -> Record:
        """Everything but the reason is null."""
        return self.cell.record({"status": "failed", "reason": self.reason})


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A cell of a dry run, with the seconds that it will take by estimate."""

    cell: Cell
    seconds: float

    def record(self) -> Record:
        """Everything but the estimated seconds is null."""
        return self.cell.record({"status": "planned", "seconds": self.seconds})


Result = Measured | Failed
"""What a run holds for a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A method in one mode over several lengths, as asked for.

    sharing  ``SharedPasses`` if a token's loss depends on earlier tokens only and the
             method is one model at all ``lengths``; else ``OnePassPerLength``
    """

    method: CellMethod
    split: Pass
    lengths: tuple[int, ...]
    sharing: Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Cells that one set of passes serves: lengths ascending, without repetition."""

    method: CellMethod
    split: Pass
    lengths: tuple[int, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One for each length."""
        return tuple(self.cell(length) for length in self.lengths)

    def cell(self, length: int) -> Cell:
        """The cell of one length."""
        return Cell(method=self.method, split=self.split, length=length)


def jobs(series: Series, protocol: EvaluationProtocol) -> tuple[Job, ...]:
    """The jobs of one series."""
    groups = protocol.groups(tuple(sorted(set(series.lengths))), series.sharing)
    return tuple(
        Job(method=series.method, split=series.split, lengths=lengths) for lengths in groups
    )
