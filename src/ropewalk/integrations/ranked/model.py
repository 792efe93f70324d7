"""A checkpoint on one rank: what all ranks do at the leader's word."""

from contextlib import ExitStack
from typing import Any, Protocol

from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import DecodePass, Pass
from ropewalk.integrations.feeding import Feeding
from ropewalk.integrations.methods import InForce, TransformersMethods
from ropewalk.integrations.ranked.feeding import OverRanks
from ropewalk.integrations.ranked.predictor import RankedPredictor
from ropewalk.integrations.ranked.scoring import shared_losses
from ropewalk.integrations.session import Session, trained_length_of
from ropewalk.methods.spec import Spec
from ropewalk.ranks.ranks import Ranks


class SharedSource(Protocol):
    """A checkpoint by its place, which every rank can open. Equal sources open equal models."""

    def open_fed(self, feeding: Feeding) -> Session:
        """A session whose passes are fed so. Raises RopewalkError if it cannot be loaded."""
        ...


class RankedModel:
    """One rank's copy of the model. All ranks are told to do the same, in the same order."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.lost = False
        """Whether a step was broken off: the others are somewhere in it."""
        self._opened: tuple[SharedSource, Session] | None = None
        self._applied = ExitStack()

    @property
    def session(self) -> Session:
        """Raises RopewalkError before a checkpoint is opened."""
        if self._opened is None:
            raise RopewalkError("ranks without a model: expected a checkpoint to be opened first")
        return self._opened[1]

    def open(self, source: SharedSource) -> None:
        """A checkpoint, as it is on the disk; one that is open already stays in memory."""
        self._applied.close()
        if self._opened is not None and self._opened[0] == source:
            self._opened[1].close()
            return
        self._opened = None
        self._opened = (source, source.open_fed(OverRanks(ranks=self.ranks)))

    def use(self, method: Spec, length: int, split: Pass) -> None:
        """As ``Session.use``. Raises RopewalkError for decoding."""
        if isinstance(split, DecodePass):
            raise RopewalkError(not_sharded(self.ranks, "mode decode"))
        self.session.use(method, length, split)

    def losses(self, ids: Tensor, first: int, split: Pass) -> Tensor:
        """As ``LanguageModel.token_losses``."""
        return shared_losses(self.session.model, self.ranks, ids, first, split)

    def apply(self, spec: Spec, given: dict[str, Any]) -> InForce:
        """A method in force until ``undo``, as ``TransformersMethods.applied``."""
        self._applied.close()
        methods = TransformersMethods(self.session.model, OverRanks(ranks=self.ranks))
        return self._applied.enter_context(methods.applied(spec, **given))

    def undo(self) -> None:
        """The model as it was opened."""
        self._applied.close()

    def predictor(self, name: str = "") -> RankedPredictor:
        """Of the model as it stands."""
        model = self.session.model
        length = trained_length_of(model)
        return RankedPredictor(model=model, name=name, trained_length=length, ranks=self.ranks)


def not_sharded(ranks: Ranks, what: str) -> str:
    """Why something is not done over ranks."""
    return (
        f"{what} over {ranks.size} ranks: decoding is not sharded, a token at a time leaves ranks "
        "nothing to share; expected mode full, stream or chunked:N; decode on one rank"
    )
