"""The document that ``compare`` prints, read for reporting."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.reporting.standings import Column, Standing, standings

PLAIN = "none"
"""Unscaled RoPE: the baseline wherever it was measured."""

CROWDED = 4.0
"""Times that all curves span what those near the best span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """What reports use of a cell's record; ``ci95`` is an interval of ``nll``."""

    method: str
    mode: str
    length: int
    nll: float | None
    ppl: float | None
    ci95: tuple[float, float] | None
    ci95_over: str | None
    documents: int | None
    tokens_scored: int | None
    reason: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "CellView":
        spread = record["ci95"]
        return cls(
            method=record["method"],
            mode=record["mode"],
            length=record["length"],
            nll=record["nll"],
            ppl=record["ppl"],
            ci95=(spread[0], spread[1]) if spread else None,
            ci95_over=record.get("ci95_over"),
            documents=record["documents"],
            tokens_scored=record["tokens_scored"],
            reason=record["reason"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells of one mode by method and length. Methods: the baseline first.

    standings  by length, where the run has paired differences to the best
    """

    mode: str
    methods: tuple[str, ...]
    lengths: tuple[int, ...]
    cells: Mapping[tuple[str, int], CellView]
    standings: Mapping[int, Standing]

    @property
    def baseline(self) -> str:
        """Unscaled RoPE if it is there, else the first method."""
        return self.methods[0]

    def nll(self, method: str, length: int) -> float | None:
        """Nats per token; None where the cell is absent or did not run."""
        cell = self.cells.get((method, length))
        return cell.nll if cell else None

    def measured(self, length: int) -> dict[str, float]:
        """Nats per token of each method that ran at a length."""
        found = {method: self.nll(method, length) for method in self.methods}
        return {method: nll for method, nll in found.items() if nll is not None}

    def near_best(self) -> tuple[str, ...]:
        """Methods within 10 % of the lowest perplexity at the longest length that ran."""
        for length in reversed(self.lengths):
            measured = self.measured(length)
            if measured:
                end = min(measured.values()) + math.log(1.1)
                return tuple(method for method in measured if measured[method] <= end)
        return ()

    def enlarged(self) -> tuple[str, ...]:
        """Methods near the best, where all others leave them so little room that their curves lie
        on each other; none where a picture of all will do.
        """
        near = self.near_best()
        room = CROWDED * self._span(near)
        return near if len(near) > 1 and self._span(self.methods) > room else ()

    def _span(self, methods: Iterable[str]) -> float:
        """Between the lowest and the highest loss of these."""
        found = (self.nll(method, length) for method in methods for length in self.lengths)
        losses = [nll for nll in found if nll is not None]
        return max(losses) - min(losses) if losses else 0.0

    @classmethod
    def of(
        cls, mode: str, cells: Iterable[CellView], columns: Mapping[Column, Standing]
    ) -> "Table":
        found = {(cell.method, cell.length): cell for cell in cells}
        methods = sorted(dict.fromkeys(method for method, _ in found), key=_baseline_first)
        lengths = sorted({length for _, length in found})
        known = {n: columns[None, mode, n] for n in lengths if (None, mode, n) in columns}
        return cls(
            mode=mode,
            methods=tuple(methods),
            lengths=tuple(lengths),
            cells=found,
            standings=known,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A run, one table for each mode."""

    model: str
    trained_length: int
    protocol: str
    tables: tuple[Table, ...]

    @property
    def cells(self) -> tuple[CellView, ...]:
        """All cells, table by table."""
        return tuple(cell for table in self.tables for cell in table.cells.values())

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Comparison":
        """Raises RopewalkError for a document without cells or with a field missing."""
        try:
            cells = [CellView.of(record) for record in loss_records(document)]
            modes = dict.fromkeys(cell.mode for cell in cells)
            columns = standings(document)
            tables = tuple(Table.of(m, (c for c in cells if c.mode == m), columns) for m in modes)
            comparison = cls(
                model=document["model"],
                trained_length=document["trained_length"],
                protocol=document["protocol"],
                tables=tables,
            )
        except (KeyError, TypeError) as error:
            raise RopewalkError(
                f"a results document without a usable {error}: expected what "
                "`ropewalk compare --json` prints"
            ) from error
        if not tables:
            raise RopewalkError("a results document without cells: expected at least one")
        return comparison


def loss_records(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells of a document that measure the loss of all tokens, not a task."""
    return [record for record in document["cells"] if "task" not in record]


def model_of(document: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """The model of a cell: the document's, unless the record names one (the toy's)."""
    return str(record.get("model", document["model"]))


def _baseline_first(method: str) -> int:
    return 0 if method == PLAIN else 1
