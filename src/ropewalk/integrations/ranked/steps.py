"""What the leader has all ranks do: plain data, sent to every rank and run there."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ropewalk.core.passes import Pass
from ropewalk.integrations.methods import InForce
from ropewalk.integrations.predictor import TransformersPredictions
from ropewalk.integrations.ranked.model import RankedModel, SharedSource
from ropewalk.methods.spec import Spec


class Step(ABC):
    """One thing that every rank does with its copy of the model."""

    @abstractmethod
    def run(self, model: RankedModel) -> Any:
        """What comes of it on this rank. Raises RopewalkError on all ranks or on none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Open(Step):
    """A checkpoint."""

    source: SharedSource

    def run(self, model: RankedModel) -> None:
        model.open(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use(Step):
    """As ``Session.use``."""

    method: Spec
    length: int
    split: Pass

    def run(self, model: RankedModel) -> None:
        model.use(self.method, self.length, self.split)


@dataclass(frozen=True, slots=True)
class Close(Step):
    """As ``Session.close``."""

    def run(self, model: RankedModel) -> None:
        model.session.close()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Losses(Step):
    """As ``LanguageModel.token_losses``."""

    ids: Tensor
    first: int
    split: Pass

    def run(self, model: RankedModel) -> Tensor:
        return model.losses(self.ids, self.first, self.split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply(Step):
    """A method in force, as ``Methods.applied``."""

    spec: Spec
    given: Mapping[str, Any]

    def run(self, model: RankedModel) -> InForce:
        return model.apply(self.spec, dict(self.given))


@dataclass(frozen=True, slots=True)
class Undo(Step):
    """The model as it was opened."""

    def run(self, model: RankedModel) -> None:
        model.undo()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InTurn(Step):
    """As ``Predictor.in_turn``."""

    sequences: Sequence[Tensor]

    def run(self, model: RankedModel) -> list[TransformersPredictions]:
        return model.predictor().in_turn(*self.sequences)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InCalls(Step):
    """As ``Predictor.in_calls``."""

    ids: Tensor
    calls: Sequence[tuple[int, int]]

    def run(self, model: RankedModel) -> TransformersPredictions:
        return model.predictor().in_calls(self.ids, self.calls)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InBatch(Step):
    """As ``Predictor.in_batch``."""

    sequences: Sequence[Tensor]

    def run(self, model: RankedModel) -> Mapping[str, list[TransformersPredictions]]:
        return model.predictor().in_batch(*self.sequences)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneRoundingAway(Step):
    """As ``LocalPredictor.one_rounding_away``."""

    ids: Tensor

    def run(self, model: RankedModel) -> TransformersPredictions:
        return model.predictor().one_rounding_away(self.ids)
