"""Score modifications: what changes a logit beside the rotation of query and key."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError

Parameters = Mapping[str, Tensor]
"""What an encoding has learned, and what it has read of the hidden states of a call, by name."""


class ScoreMod:
    """tau(m) and bias_h(m, n) from true indices. Pure; float64. Both parts are optional."""

    distance_alone: ClassVar[bool] = False
    """Whether the bias is a function of m - n: then it is taken once for each distance."""

    def query_scale(self, rows: Tensor) -> Tensor:
        """tau, same shape as ``rows`` (true indices m): multiplies the row's logits."""
        return torch.ones_like(rows, dtype=torch.float64)

    def bias(self, heads: int, rows: Tensor, keys: Tensor) -> Tensor | None:
        """Added to the logits: ``[heads, *broadcast(rows, keys)]``, or None for no bias."""
        return None


def only_scales(mod: ScoreMod) -> bool:
    """Whether it has no bias, so that it needs no distance."""
    return type(mod).bias is ScoreMod.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class OfHeads(ScoreMod):
    """``mod`` for heads ``first`` .. of ``all_heads``, whose biases may differ by head."""

    mod: ScoreMod
    first: int
    all_heads: int

    @property
    def distance_alone(self) -> bool:  # type: ignore[override]
        return self.mod.distance_alone

    def query_scale(self, rows: Tensor) -> Tensor:
        return self.mod.query_scale(rows)

    def bias(self, heads: int, rows: Tensor, keys: Tensor) -> Tensor | None:
        whole = self.mod.bias(self.all_heads, rows, keys)
        return None if whole is None else whole[self.first : self.first + heads]


def of_heads(mod: ScoreMod, first: int, all_heads: int) -> ScoreMod:
    """A modification for some heads of a layer; itself where it has no bias."""
    here = torch.zeros(1, 1, dtype=torch.long)
    if mod.bias(all_heads, here, here) is None:
        return mod
    return OfHeads(mod=mod, first=first, all_heads=all_heads)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """What the parameters of one attention layer are shaped after.

    width  channels of the hidden states that the layer reads
    """

    width: int
    heads: int
    head_dim: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """The scores of some queries and keys of one call.

    q       ``[b, h, m, d]``: un-rotated queries of these rows, times tau
    scale   sigma
    rows    their true indices, int64 ``[b or 1, m, 1]``
    keys    those of the keys, int64 ``[b or 1, 1, n]``
    batch, queries, key_range  where the block lies in the tensors of the call
    all_queries                how many the call has
    """

    q: Tensor
    scale: float
    rows: Tensor
    keys: Tensor
    batch: slice
    queries: slice
    key_range: slice
    all_queries: int

    @property
    def heads(self) -> int:
        return self.q.shape[1]

    @property
    def distances(self) -> Tensor:
        """m - n, int64 ``[b or 1, m, n]``: below 0 where a key comes after its row."""
        return self.rows - self.keys


class LearnedBias(ABC):
    """A bias with parameters: a specification that holds none of them.

    A final subclass is a frozen dataclass. What ``init`` returns is trained with the model;
    what depends on hidden states is read of them once for each token, for the rows of a call
    and for its keys, which a cache keeps beside them.
    """

    distance_alone: ClassVar[bool] = False
    """As ``ScoreMod.distance_alone``."""

    @abstractmethod
    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        """Parameters of one layer before training, float32, from torch's random numbers."""

    @abstractmethod
    def bias(self, parameters: Parameters, block: Block) -> Tensor:
        """Added to the logits of a block: ``[b or 1, h, m, n]``, with gradients."""

    def of_queries(self, parameters: Parameters, hidden: Tensor) -> dict[str, Tensor]:
        """What rows carry, ``[b, m, ...]``, of their hidden states ``[b, m, width]``."""
        return {}

    def of_keys(self, parameters: Parameters, hidden: Tensor) -> dict[str, Tensor]:
        """What keys carry, ``[b, n, ...]``, of their hidden states ``[b, n, width]``."""
        return {}


class RelativeValues(ABC):
    """A term of the output that depends on where a key stands from its row, with parameters."""

    @abstractmethod
    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        """As ``LearnedBias.init``."""

    @abstractmethod
    def values(self, parameters: Parameters, weights: Tensor, block: Block) -> Tensor:
        """Added to the output ``[b, h, m, e]`` of ``weights`` ``[b, h, m, n]``."""


def parameter(parameters: Parameters, name: str) -> Tensor:
    """The parameter of that name; RopewalkError where it was not handed in."""
    if name not in parameters:
        raise RopewalkError(
            f"no parameters {name}: expected those of a model that was trained with this encoding; "
            "hand them in as parameters=, for a start encoding.init(...)"
        )
    return parameters[name]
