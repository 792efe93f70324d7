"""Bars on standard error. Those of a comparison: the whole run, and the job at hand."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ropewalk.cli.chosen import choice_text
from ropewalk.cli.output import remark

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ropewalk.evaluation.cells import Result
    from ropewalk.evaluation.choosing import Choice
    from ropewalk.evaluation.jobs import Job


class Bars:
    """``ropewalk.evaluation.progress.Progress``, drawn with rich."""

    def __init__(self, bars: "Progress", whole: "TaskID", job: "TaskID") -> None:
        self._bars = bars
        self._whole = whole
        self._job = job

    def chosen(self, choice: "Choice") -> None:
        remark(choice_text(choice.record()))

    def planned(self, cost: float) -> None:
        self._bars.reset(self._whole, total=cost, visible=cost > 0)

    def started(self, job: "Job", cost: float) -> None:
        longest = f"{job.lengths[-1]:,} tokens"
        name = f"{job.method.text}, {job.split.name}, {longest}"
        self._bars.reset(self._job, total=cost, description=name, visible=cost > 0)

    def advanced(self, job: "Job", cost: float) -> None:
        self._bars.advance(self._whole, cost)
        self._bars.advance(self._job, cost)

    def finished(self, result: "Result") -> None:
        return None


@contextmanager
def bars() -> Iterator[Bars]:
    """The bars of a comparison."""
    with _drawn() as drawn:
        whole = drawn.add_task("whole run", total=None)
        job = drawn.add_task("", total=None, visible=False)
        yield Bars(drawn, whole, job)


@contextmanager
def bar() -> Iterator[Callable[[str, float], None]]:
    """One bar: told what begins, and the share of the whole that is done."""
    with _drawn() as drawn:
        whole = drawn.add_task("loading", total=1.0)
        yield lambda work, share: drawn.update(whole, description=work, completed=share)


@contextmanager
def _drawn() -> Iterator["Progress"]:
    """Bars that disappear at the end; nothing is drawn where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Lines for a terminal go above the bars; those for a file go there.
        redirect_stdout=sys.stdout.isatty(),
    ) as drawn:
        yield drawn
