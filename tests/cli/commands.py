"""What tests of commands share: a library that remembers, documents, and one line of error."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

CELL = {
    "method": "none",
    "mode": "full",
    "length": 64,
    "documents": 2,
    "tokens_scored": 32,
    "nll": 1.5,
    "ppl": 4.4817,
    "bits_per_byte": 0.7,
    "ci95": [1.4, 1.6],
    "ci95_over": "documents",
    "seconds": 0.5,
    "peak_memory_bytes": None,
    "status": "ok",
    "reason": None,
}


def document(*cells: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "tiny",
        "trained_length": 32,
        "protocol": "tail",
        "run_dir": "ropewalk-runs/tiny-tail",
        "cells": list(cells),
    }


class FakeApi:
    """The functions of ``ropewalk.api``, remembering what they were asked."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def compare(self, *given: Any, **named: Any) -> SimpleNamespace:
        self.asked.append(("compare", given, named))
        job = SimpleNamespace(
            method=SimpleNamespace(text="none"), split=SimpleNamespace(name="full"), lengths=(64,)
        )
        progress = named["progress"]
        progress.planned(10.0)
        progress.started(job, 10.0)
        progress.advanced(job, 10.0)
        progress.finished(SimpleNamespace())
        return SimpleNamespace(document=self.answer)

    def plan_compare(self, *given: Any, **named: Any) -> SimpleNamespace:
        self.asked.append(("plan_compare", given, named))
        return SimpleNamespace(document=self.answer)

    def inspect(self, *given: Any, **named: Any) -> dict[str, Any]:
        self.asked.append(("inspect", given, named))
        return self.answer

    @contextmanager
    def extend(self, *given: Any, **named: Any) -> Iterator[None]:
        self.asked.append(("extend", given, named))
        yield


def one_error(captured: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; standard output must be empty."""
    output, error = captured.readouterr()
    assert output == ""
    lines = error.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]
