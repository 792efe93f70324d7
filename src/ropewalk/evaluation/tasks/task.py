"""A task: what is measured of a model at a length, whatever is measured."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ropewalk.core.language_model import LanguageModel
from ropewalk.core.passes import Pass
from ropewalk.evaluation.protocols.protocol import Sharing
from ropewalk.evaluation.units import Metric, Unit

Advance = Callable[[float], None]
"""Told the cost of what just went through the model (``cost.py``)."""


class Task(ABC):
    """Plain data: texts or seeds, and a rule. Opens nothing and knows no model."""

    @property
    @abstractmethod
    def text(self) -> str:
        """Its name and what decides its value beside the setting, e.g. ``needle:trials=20``."""

    def parts(self, size: int) -> "tuple[Task, ...]":
        """Tasks whose units, in this order, are this one's; here itself alone.

        size  units of each, which go through the model at once
        """
        return (self,)

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """The one that methods are compared by."""

    @abstractmethod
    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        """Lengths (ascending) by the set of passes that serves them."""

    @abstractmethod
    def check(self, length: int) -> None:
        """Raises RopewalkError, with the remedy, if ``length`` cannot be measured."""

    @abstractmethod
    def cost(self, lengths: Sequence[int], split: Pass) -> float:
        """Token equivalents of the passes that serve all ``lengths``."""

    @abstractmethod
    def units(
        self,
        model: LanguageModel,
        lengths: Sequence[int],
        split: Pass,
        *,
        batch: int,
        advance: Advance,
    ) -> Mapping[int, tuple[Unit, ...]]:
        """The units of each length, from passes that serve all of them (one group, checked).

        batch  sequences of equal length that go through the model at once

        Raises RopewalkError for a figure that is not finite.
        """

    @abstractmethod
    def fields(self, units: Sequence[Unit]) -> dict[str, Any]:
        """What a cell's record says of its units."""
