"""What a server told of one text, beside what a local model makes of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Observation, ToldEmbeddings, Unit
from ropewalk.integrations.endpoints.endpoint import Endpoint, Progress, spread
from ropewalk.integrations.pooling import POOLINGS, Pooling
from ropewalk.integrations.predictor import TransformersPredictor

PREFIXES = 8
"""Texts whose embeddings are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard(ABC):
    """A text, int64 ``[n]``, and what a server told of it."""

    unit: ClassVar[Unit]

    ids: Tensor

    @property
    @abstractmethod
    def how(self) -> str:
        """What the server was asked for, in words."""

    @property
    @abstractmethod
    def rows(self) -> Tensor:
        """int64 ``[r]``: the positions that something is known of."""

    @abstractmethod
    def differences(self, predictor: TransformersPredictor) -> Tensor:
        """The server's minus the local model's as it stands, float64 ``[r, k]``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardTokens(Heard):
    """Predictions of tokens."""

    unit: ClassVar[Unit] = Unit.NATS

    told: Observation
    asked_for: str

    @classmethod
    def of(cls, endpoint: Endpoint, ids: Tensor, progress: Progress) -> "HeardTokens":
        return cls(ids=ids, told=endpoint.observe(ids, progress), asked_for=endpoint.how)

    @property
    def how(self) -> str:
        return self.asked_for

    @property
    def rows(self) -> Tensor:
        return self.told.rows

    def differences(self, predictor: TransformersPredictor) -> Tensor:
        return self.told.differences(predictor.in_turn(self.ids)[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardEmbeddings(Heard):
    """Embeddings of growing prefixes, which the server makes of its states by ``pooling``."""

    unit: ClassVar[Unit] = Unit.UNIT_VECTORS

    told: ToldEmbeddings
    pooling: Pooling

    @classmethod
    def of(
        cls, endpoint: Endpoint, ids: Tensor, predictor: TransformersPredictor, progress: Progress
    ) -> "HeardEmbeddings":
        """Ask for them. The pooling is the one that comes nearest for the shortest prefix.

        Raises RopewalkError for vectors of another width than the local model's.
        """
        rows = spread(len(ids), PREFIXES)
        vectors = []
        for done, row in enumerate(rows, start=1):
            vectors.append(endpoint.embed(ids[: row + 1]))
            progress(done / len(rows))
        told = ToldEmbeddings(rows=torch.tensor(rows), vectors=torch.stack(vectors))
        states = predictor.in_turn(ids[: rows[0] + 1])[0].states
        if states.shape[-1] != told.vectors.shape[-1]:
            raise RopewalkError(
                f"the server's embeddings have {told.vectors.shape[-1]:,} numbers, the model's "
                f"states {states.shape[-1]:,}: expected as many; serve it without a projection"
            )
        first = ToldEmbeddings(rows=told.rows[:1], vectors=told.vectors[:1])

        def apart(pooling: Pooling) -> float:
            return float(first.differences([pooling.of(states)]).square().mean().nan_to_num())

        return cls(ids=ids, told=told, pooling=min(POOLINGS, key=apart))

    @property
    def how(self) -> str:
        return f"embeddings of {len(self.rows)} prefixes ({self.pooling.name} of the states)"

    @property
    def rows(self) -> Tensor:
        return self.told.rows

    def differences(self, predictor: TransformersPredictor) -> Tensor:
        parts = [self.ids[:length] for length in self.told.lengths]
        found = [self.pooling.of(each.states) for each in predictor.in_turn(*parts)]
        return self.told.differences(found)
