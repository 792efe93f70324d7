"""Jobs: the cells of one set of passes, as plain data that any process can open and measure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.cells import Cell, Series
from ropewalk.evaluation.setting import Setting
from ropewalk.evaluation.tasks.task import Task
from ropewalk.evaluation.units import LOSS
from ropewalk.methods.spec import Spec


class Session(Protocol):
    """An opened model, into which methods are put in turn."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        ...

    def use(self, method: Spec, length: int, split: Pass) -> LanguageModel:
        """The model with a method, until the next call.

        length  of the passes to come: of shared passes, the longest

        Raises RopewalkError for a method that cannot be put into the model.
        """
        ...

    def close(self) -> None:
        """Leave the model as it was opened."""
        ...


class ModelSource(Protocol):
    """Where a model comes from. Equal sources open equal models."""

    def open(self) -> Session:
        """Raises RopewalkError if the model cannot be loaded."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Cells that one set of passes serves. Can be pickled wherever its source can.

    lengths  that the passes serve: ascending, without repetition
    wanted   those of them whose cells are not there yet
    batch    sequences of equal length that go through the model at once, where memory allows
    task_text  of what is measured
    """

    source: ModelSource
    setting: Setting
    method: Spec
    split: Pass
    lengths: tuple[int, ...]
    wanted: tuple[int, ...]
    batch: int = 1
    task_text: str = LOSS.name

    @property
    def task(self) -> Task:
        """What is measured."""
        return self.setting.task_of(self.task_text)

    @property
    def cost(self) -> float:
        """Token equivalents of its passes."""
        return self.task.cost(self.lengths, self.split)

    def cell(self, length: int) -> Cell:
        """The cell of one length."""
        return Cell(method=self.method, split=self.split, length=length, task=self.task_text)


def jobs_of(
    series: Iterable[Series], *, source: ModelSource, setting: Setting, batch: int
) -> Iterator[Job]:
    """The jobs of all series, everything wanted."""
    for one in series:
        task = setting.task_of(one.task)
        for lengths in task.groups(tuple(sorted(set(one.lengths))), one.sharing):
            yield Job(
                source=source,
                setting=setting,
                method=one.method,
                split=one.split,
                lengths=lengths,
                wanted=lengths,
                batch=batch,
                task_text=one.task,
            )
