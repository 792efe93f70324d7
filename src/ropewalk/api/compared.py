"""A finished comparison, and the toy model that stands beside the demo model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.api.preparing import Asked
from ropewalk.data import toy_model
from ropewalk.evaluation.cells import Record
from ropewalk.evaluation.request import DEFAULT_METHODS
from ropewalk.evaluation.tasks.induction import Induction
from ropewalk.reporting.notebook import notebook_html
from ropewalk.reporting.parquet import frame_of

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN_TASK = Induction.name
SHOWN_LENGTHS = ("1x", "4x")
"""What the toy model is asked beside the demo model, and where, unless lengths are given."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CompareResult:
    """A finished comparison.

    document  what ``ropewalk compare --json`` prints
    run_dir   the run folder
    """

    document: dict[str, Any]
    run_dir: Path

    @property
    def records(self) -> list[Record]:
        """One record a cell."""
        return list(self.document["cells"])

    def to_frame(self) -> "DataFrame":
        """One row a cell, as ``results.parquet`` has it; RopewalkError without pandas."""
        return frame_of(self.records)

    def __repr__(self) -> str:
        ran = sum(cell["status"] == "ok" for cell in self.records)
        name, cells = self.document["model"], len(self.records)
        return f"CompareResult({name}: {ran} of {cells} cells measured, in {self.run_dir})"

    def _repr_html_(self) -> str:
        return notebook_html(self.document)


def shows_retrieval(asked: Asked) -> bool:
    """The demo model retrieves nothing, so that a task of it would show nothing."""
    return asked.place is None and not asked.request.tasks and not asked.request.lines


def beside(asked: Asked, run_dir: Path) -> Asked:
    """The same methods and modes, asked of the toy model."""
    request = replace(
        asked.request,
        tasks=(SHOWN_TASK,),
        lengths=asked.request.lengths or SHOWN_LENGTHS,
        methods=asked.request.methods or DEFAULT_METHODS,
        protocol="tail",
        windows=None,
        tail_tokens=None,
        stride=None,
    )
    materials = replace(asked.materials, texts=(), questions=None, evaluator=None)
    out = run_dir / toy_model().name
    return replace(asked, place=toy_model(), request=request, materials=materials, out=out)


def with_toy(result: CompareResult, toy: CompareResult) -> CompareResult:
    """The cells of both, those of the toy model marked as its own."""
    cells = [{**cell, "model": toy.document["model"]} for cell in toy.records]
    merged = {"cells": [*result.records, *cells]}
    for name in {"differences", "to_best"} & set(result.document):
        merged[name] = [*result.document[name], *toy.document[name]]
    return replace(result, document={**result.document, **merged})
