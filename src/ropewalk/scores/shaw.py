"""Relative keys and values: a learned vector for each distance up to k, either way.

    score(m, n) = sigma q_m . (k_n + aK[c]),   out_m = sum of alpha(m, n) (v_n + aV[c])
    c = clip(n - m, -k, k) + k

k   max_relative_position. All distances beyond k look alike. The tables are shared by all heads.

Parameters: shaw_keys, shaw_values, ``[2k + 1, head_dim]`` each.

Source: Shaw et al. 2018, Self-Attention with Relative Position Representations, arXiv:1803.02155,
    equations 3 to 5; tensor2tensor for tables that heads share.
Deviation: none. A causal model reaches k + 1 rows of each table alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import (
    Block,
    LayerShape,
    LearnedBias,
    Parameters,
    RelativeValues,
    parameter,
)
from ropewalk.scores.by_distance import gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class ShawKeys(LearnedBias):
    """sigma q_m . aK. Raises RopewalkError for a negative k."""

    max_relative_position: int

    def __post_init__(self) -> None:
        _check(self.max_relative_position)

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        return {"shaw_keys": _table(self.max_relative_position, shape)}

    def bias(self, parameters: Parameters, block: Block) -> Tensor:
        table = parameter(parameters, "shaw_keys")
        scores = block.q.to(table.dtype) @ table.T * block.scale
        return gathered(scores, _clipped(block.distances, self.max_relative_position))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShawValues(RelativeValues):
    """sum of alpha aV. Raises RopewalkError for a negative k."""

    max_relative_position: int

    def __post_init__(self) -> None:
        _check(self.max_relative_position)

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        return {"shaw_values": _table(self.max_relative_position, shape)}

    def values(self, parameters: Parameters, weights: Tensor, block: Block) -> Tensor:
        table = parameter(parameters, "shaw_values")
        index = _clipped(block.distances, self.max_relative_position)[:, None]
        shares = weights.new_zeros(*weights.shape[:-1], len(table))
        shares = shares.scatter_add(-1, index.expand_as(weights), weights)
        found: Tensor = shares.to(table.dtype) @ table
        return found


def _clipped(distances: Tensor, most: int) -> Tensor:
    clipped: Tensor = (-distances).clamp(-most, most) + most
    return clipped


def _table(most: int, shape: LayerShape) -> Tensor:
    scale: float = shape.head_dim**-0.5
    return torch.randn(2 * most + 1, shape.head_dim) * scale


def _check(most: int) -> None:
    if not 0 <= most <= 2**24:
        raise RopewalkError(f"max_relative_position={most}: expected 0 to 2^24 tokens")
