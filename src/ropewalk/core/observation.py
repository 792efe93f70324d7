"""What a model that runs elsewhere tells of its predictions, and how far another one's are from it.

Row m is what was predicted after tokens 0 .. m of a sequence. A server may tell the
log-probabilities of a few tokens of a row, or only the token that it takes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

LOGITS_AT_ONCE = 2**22


class Unit(Enum):
    """What differences are measured in, in words."""

    NATS = "nats a token"
    UNIT_VECTORS = "of a unit vector"


class Rows(Protocol):
    """Predictions after each token of a sequence."""

    def logits(self, start: int, stop: int) -> Tensor:
        """Of rows start .. stop, ``[rows, vocabulary]``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation(ABC):
    """What was told of some rows of one sequence.

    rows  int64 ``[r]``, ascending
    ids   int64 ``[r, k]``: the tokens of each row that something is known of
    """

    rows: Tensor
    ids: Tensor

    @abstractmethod
    def signed(self, logprobs: Tensor, block: slice) -> Tensor:
        """How far log-probabilities ``[r', vocabulary]`` of a block of rows are, ``[r', k]``."""

    def differences(self, predictions: Rows) -> Tensor:
        """Nats, signed, float64 ``[r, k]``: the server's minus those of ``predictions``."""
        found = []
        for block in self._blocks(predictions):
            rows = self.rows[block]
            logits = predictions.logits(int(rows[0]), int(rows[-1]) + 1)
            picked = logits[(rows - rows[0]).to(logits.device)].double().cpu()
            found.append(self.signed(picked.log_softmax(dim=-1), block))
        return torch.cat(found)

    def _blocks(self, predictions: Rows) -> Iterator[slice]:
        """Runs of neighbouring rows, each of a few logits at a time."""
        first = int(self.rows[0])
        at_once = max(1, LOGITS_AT_ONCE // predictions.logits(first, first + 1).shape[-1])
        start = 0
        for stop in range(1, len(self.rows) + 1):
            full = stop - start == at_once
            if full or stop == len(self.rows) or self.rows[stop] != self.rows[stop - 1] + 1:
                yield slice(start, stop)
                start = stop


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToldLogprobs(Observation):
    """Log-probabilities float64 ``[r, k]`` of ``ids``; NaN where the server gave no number."""

    logprobs: Tensor

    def signed(self, logprobs: Tensor, block: slice) -> Tensor:
        return self.logprobs[block] - logprobs.gather(-1, self.ids[block])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToldTokens(Observation):
    """The token ``[r, 1]`` that a server takes: likelier there than every other.

    A model that takes another one is as far away as it finds that one likelier.
    """

    def signed(self, logprobs: Tensor, block: slice) -> Tensor:
        return logprobs.amax(dim=-1, keepdim=True) - logprobs.gather(-1, self.ids[block])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToldEmbeddings:
    """Embeddings of growing prefixes of one sequence.

    rows     int64 ``[r]``, ascending: the last position of each prefix
    vectors  float64 ``[r, d]``, of any size; NaN where the server gave no number
    """

    rows: Tensor
    vectors: Tensor

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prefix."""
        return (self.rows + 1).tolist()

    def differences(self, vectors: Sequence[Tensor]) -> Tensor:
        """Of unit vectors, signed, float64 ``[r, d]``; those of a row have |s - b| as their rms.

        sqrt(d) (s - b),   s and b the unit vectors told and given
        """
        given = torch.stack(list(vectors)).double().cpu()
        size: float = self.vectors.shape[-1] ** 0.5
        return (normalize(self.vectors, dim=-1) - normalize(given, dim=-1)) * size


def cosines(differences: Tensor) -> Tensor:
    """cos of each row of ``ToldEmbeddings.differences``: 1 - |s - b|^2 / 2."""
    return 1 - differences.square().mean(dim=-1) / 2
