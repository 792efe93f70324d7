"""The toy model that stands beside the demo model, which retrieves nothing."""

from dataclasses import replace
from pathlib import Path

from ropewalk.comparing.request import CompareRequest
from ropewalk.comparing.result import CompareResult
from ropewalk.data import toy_model
from ropewalk.evaluation.request import DEFAULT_METHODS
from ropewalk.evaluation.tasks.induction import Induction

SHOWN_TASK = Induction.name
SHOWN_LENGTHS = ("1x", "4x")
"""What the toy model is asked beside the demo model, and where, unless lengths are given."""


def shows_retrieval(asked: CompareRequest) -> bool:
    """Of the demo model alone a task would show nothing."""
    plain = not asked.request.tasks and not asked.request.lines
    return asked.place is None and plain and asked.served is None and asked.ranks is None


def beside(asked: CompareRequest, run_dir: Path) -> CompareRequest:
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
