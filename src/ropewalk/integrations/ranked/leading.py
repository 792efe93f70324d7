"""A model over ranks as the leader has it: measuring and verifying ask it as any other."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.answering import Reader
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import Pass
from ropewalk.integrations.extension import EXTENSION, Extension
from ropewalk.integrations.feeding import WHOLE
from ropewalk.integrations.methods import InForce, TransformersMethods
from ropewalk.integrations.predictor import TransformersPredictions, TransformersPredictor
from ropewalk.integrations.ranked.model import RankedModel, SharedSource, not_sharded
from ropewalk.integrations.ranked.steps import (
    Apply,
    Close,
    InBatch,
    InCalls,
    InTurn,
    Losses,
    OneRoundingAway,
    Open,
    Undo,
    Use,
)
from ropewalk.integrations.ranked.together import lead
from ropewalk.methods.spec import NATIVE, Spec, parse_spec
from ropewalk.ranks.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedSource:
    """A checkpoint that every rank opens, as evaluation's ``ModelSource`` of the leader."""

    source: SharedSource
    ranks: Ranks

    def open(self) -> "LeadingSession":
        """Raises RopewalkError where a rank cannot load it."""
        return LeadingSession(opened(self.source, self.ranks))


def opened(source: SharedSource, ranks: Ranks) -> RankedModel:
    """The leader's copy of a checkpoint that all ranks have open."""
    model = RankedModel(ranks)
    lead(model, Open(source=source))
    return model


class LeadingSession:
    """As evaluation's ``Session``."""

    def __init__(self, shared: RankedModel) -> None:
        self._shared = shared

    @property
    def model(self) -> nn.Module:
        """The leader's own copy."""
        return self._shared.session.model

    @property
    def device(self) -> torch.device:
        return self._shared.session.device

    def use(self, method: Spec, length: int, split: Pass) -> "LeadingScorer":
        lead(self._shared, Use(method=method, length=length, split=split))
        return LeadingScorer(self._shared)

    def close(self) -> None:
        if not self._shared.lost:
            lead(self._shared, Close())


@dataclass(frozen=True, slots=True)
class LeadingScorer:
    """As ``LanguageModel``."""

    shared: RankedModel

    def token_losses(self, ids: Tensor, first: int, split: Pass) -> Tensor:
        losses: Tensor = lead(self.shared, Losses(ids=ids, first=first, split=split))
        return losses

    def read(self, prompts: Tensor, split: Pass) -> "Reader":
        """Raises RopewalkError: answers are decoded."""
        raise RopewalkError(not_sharded(self.shared.ranks, "a task with answers"))


@dataclass(frozen=True, slots=True, eq=False)
class LeadingMethods:
    """As verification's ``Methods``."""

    shared: RankedModel

    def at_rest(self) -> AbstractContextManager[None]:
        return self._own.at_rest()

    def native(self) -> AbstractContextManager[InForce]:
        return self.applied(parse_spec(NATIVE))

    def check(self, spec: Spec, **given: Any) -> None:
        self._own.check(spec, **given)

    @contextmanager
    def applied(self, spec: Spec, **given: Any) -> Iterator[InForce]:
        in_force: InForce = lead(self.shared, Apply(spec=spec, given=given))
        try:
            yield in_force
        finally:
            if not self.shared.lost:
                lead(self.shared, Undo())

    @property
    def _own(self) -> TransformersMethods:
        return TransformersMethods(self.shared.session.model)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeadingPredictor(TransformersPredictor):
    """As verification's ``SharedPredictor``."""

    shared: RankedModel

    def in_turn(self, *sequences: Tensor) -> list[TransformersPredictions]:
        found: list[TransformersPredictions] = lead(self.shared, InTurn(sequences=sequences))
        return found

    def in_calls(self, ids: Tensor, calls: Collection[tuple[int, int]]) -> TransformersPredictions:
        found: TransformersPredictions = lead(self.shared, InCalls(ids=ids, calls=list(calls)))
        return found

    def in_batch(self, *sequences: Tensor) -> Mapping[str, list[TransformersPredictions]]:
        found: Mapping[str, list[TransformersPredictions]] = lead(
            self.shared, InBatch(sequences=sequences)
        )
        return found

    def one_rounding_away(self, ids: Tensor) -> TransformersPredictions:
        found: TransformersPredictions = lead(self.shared, OneRoundingAway(ids=ids))
        return found

    def alone(self, ids: Tensor) -> TransformersPredictions:
        """One call that the leader feeds alone, under the same method."""
        extension = getattr(self.model, EXTENSION, None)
        plain = TransformersPredictor(
            model=self.model, name=self.name, trained_length=self.trained_length
        )
        own = extension if isinstance(extension, Extension) else None
        with nullcontext() if own is None else own.fed(WHOLE):
            return plain.in_turn(ids)[0]
