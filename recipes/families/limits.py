"""Examine a model in a process of its own, with a time limit: the code of some family may hang."""

import math
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from torch import nn

from recipes.families.examine import examine
from ropewalk.core.errors import RopewalkError

SECONDS = 600
PROCESSES = multiprocessing.get_context("fork")

Build = Callable[[], nn.Module]


def within_limit(
    build: Build, seconds: float = SECONDS, uses: Callable[[Build], Any] | None = None
) -> dict[str, Any]:
    """The record of a model, made in a process of its own.

    uses  what else is done to models that are not refused
    """
    ours, theirs = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=_examined, args=(build, theirs, uses))
    child.start()
    theirs.close()
    try:
        if ours.poll(seconds):
            record: dict[str, Any] = ours.recv()
            return record
        return {"result": "not built", "reason": f"took longer than {seconds:.0f} s"}
    except EOFError:
        child.join()
        return {"result": "not built", "reason": f"its process ended with {child.exitcode}"}
    finally:
        child.kill()
        child.join()


def _examined(build: Build, answer: Connection, uses: Callable[[Build], Any] | None) -> None:
    try:
        model = build()
    except RopewalkError as error:
        answer.send({"result": "refused", "reason": str(error)})
        return
    except Exception as error:
        # The code of some hundred families may raise anything.
        line = " ".join(str(error).split())[:160]
        answer.send({"result": "not built", "reason": f"{type(error).__name__}: {line}"})
        return
    record = examine(model)
    if uses is not None and record["result"] != "refused":
        record["uses"] = uses(build)
    answer.send(_stored(record))


def _stored(value: Any) -> Any:
    """For JSON, which has no infinity: null in its place."""
    if isinstance(value, dict):
        return {name: _stored(each) for name, each in value.items()}
    return None if value == math.inf else value
