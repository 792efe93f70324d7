"""T5's relative position bias: a number for each head and each bucket of distances.

    bias_h(m, n) = t[bucket(m - n), h]

Causal buckets, of B in all, with E = B / 2:

    bucket(D) = D                                                    D < E
    bucket(D) = min(B - 1, E + floor(E ln(D / E) / ln(M / E)))       else

Bidirectional: the same with B / 2 buckets for |D|, and B / 2 is added where the key comes after.

B   relative_attention_num_buckets;  M   relative_attention_max_distance;  t   t5_bias ``[B, h]``

A model that reads s times its trained length may be shown bucket(D / s), rounded towards 0, or
s M in the place of M: then near distances keep buckets of their own.

Source: Raffel et al. 2019, T5, arXiv:1910.10683, section 2.1; mesh_tensorflow's released code.
Deviation: T5 itself adds the bias to logits without a scale and shares t between its layers;
    here logits are scaled as the model says, and a layer has its own t unless it shares it. With 32
    buckets and M = 128 everything from distance 113 on is one bucket, as in released code.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import Block, LayerShape, LearnedBias, Parameters, parameter
from ropewalk.scores.by_distance import looked_up

Direction = Literal["causal", "bidirectional"]


@dataclass(frozen=True, slots=True, kw_only=True)
class T5Bias(LearnedBias):
    """Parameters: ``t5_bias`` ``[B, h]``.

    factor  s of bucket(D / s)

    Raises RopewalkError for fewer than 2 buckets a direction, an odd number of them, and a
    maximal distance that is not beyond the exact buckets.
    """

    distance_alone = True

    buckets: int = 32
    max_distance: int = 128
    direction: Direction = "causal"
    factor: float = 1.0

    def __post_init__(self) -> None:
        sides = 1 if self.direction == "causal" else 2
        if self.buckets < 2 * sides or self.buckets % (2 * sides):
            raise RopewalkError(
                f"relative_attention_num_buckets={self.buckets}: expected a multiple of "
                f"{2 * sides} for direction={self.direction}"
            )
        if self.max_distance <= self.buckets // sides // 2:
            raise RopewalkError(
                f"relative_attention_max_distance={self.max_distance}: expected more than the "
                f"{self.buckets // sides // 2} distances that have a bucket of their own"
            )

    def bucket(self, distances: Tensor) -> Tensor:
        """int64 of the shape of ``distances`` (m - n)."""
        if self.factor != 1:
            distances = (distances / self.factor).long()
        if self.direction == "causal":
            return self._of_one_side(distances.clamp(min=0), self.buckets)
        half = self.buckets // 2
        return self._of_one_side(distances.abs(), half) + half * (distances < 0).long()

    def _of_one_side(self, distances: Tensor, buckets: int) -> Tensor:
        exact = buckets // 2
        growth = torch.log(distances.clamp(min=1).double() / exact)
        share = growth / math.log(self.max_distance / exact)
        far = (exact + (share * (buckets - exact)).long()).clamp(max=buckets - 1)
        return torch.where(distances < exact, distances, far)

    def init(self, shape: LayerShape) -> dict[str, Tensor]:
        return {"t5_bias": torch.randn(self.buckets, shape.heads) * shape.width**-0.5}

    def bias(self, parameters: Parameters, block: Block) -> Tensor:
        return looked_up(parameter(parameters, "t5_bias"), self.bucket(block.distances))
