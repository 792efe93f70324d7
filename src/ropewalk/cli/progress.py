"""Bars on standard error. Those of a comparison: the whole run, and the job at hand."""

import sys
import time
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


LINE_SECONDS = 10.0
"""Between lines of progress, where there is no terminal to draw a bar on."""


class Lines:
    """Lines on standard error where that is no terminal, none for what is done sooner."""

    def __init__(self) -> None:
        self._begun = self._told = time.monotonic()

    def tell(self, work: str, share: float) -> None:
        """What is at work, and the share of the whole that is done."""
        now = time.monotonic()
        if sys.stderr.isatty() or now - self._told < LINE_SECONDS:
            return
        self._told = now
        remark(f"{work}: {share:.0%} of the run after {now - self._begun:,.0f} s")


class Bars:
    """``ropewalk.evaluation.progress.Progress``, drawn with rich."""

    def __init__(self, bars: "Progress", whole: "TaskID", job: "TaskID") -> None:
        self._bars = bars
        self._whole = whole
        self._job = job
        self._lines, self._cost, self._done = Lines(), 0.0, 0.0

    def chosen(self, choice: "Choice") -> None:
        remark(choice_text(choice.record()))

    def planned(self, cost: float) -> None:
        self._bars.reset(self._whole, total=cost, visible=cost > 0)
        self._cost, self._done = cost, 0.0

    def started(self, job: "Job", cost: float) -> None:
        name = _named(job)
        self._bars.reset(self._job, total=cost, description=name, visible=cost > 0)

    def advanced(self, job: "Job", cost: float) -> None:
        self._bars.advance(self._whole, cost)
        self._bars.advance(self._job, cost)
        self._done += cost
        if self._cost:
            self._lines.tell(_named(job), min(self._done / self._cost, 1.0))

    def finished(self, result: "Result") -> None:
        return None


def _named(job: "Job") -> str:
    return f"{job.method.text}, {job.split.name}, {job.lengths[-1]:,} tokens"


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
        whole, lines = drawn.add_task("loading", total=1.0), Lines()

        def told(work: str, share: float) -> None:
            drawn.update(whole, description=work, completed=share)
            lines.tell(work, share)

        yield told


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
