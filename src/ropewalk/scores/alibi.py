"""ALiBi: every logit falls with the distance, at a rate of its own in each head.

    bias_h(m, n) = -a_h (m - n)

    GeometricSlopes    a_h = 2^(-8 h / H),  h = 1 .. H
    PressSlopes        the same where H is a power of two; else the slopes of the power P below
                       H, then every other slope of 2P from the first on, until there are H

H   heads

Nothing is learned and nothing rotates. The bias is added to scaled logits.

Source: Press et al. 2021, Train Short, Test Long, arXiv:2108.12409, section 3;
    ofirpress/attention_with_linear_biases for PressSlopes.
Deviation: the paper's text gives the closed form for every H; released code, and so the models
    trained with it, has PressSlopes. The two differ where H is no power of two.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.score_mods import ScoreMod


class Slopes(ABC):
    """a_h of each head."""

    @abstractmethod
    def of(self, heads: int) -> Tensor:
        """float64 ``[h]``."""


@dataclass(frozen=True, slots=True)
class GeometricSlopes(Slopes):
    """a_h = 2^(-8 h / H)."""

    def of(self, heads: int) -> Tensor:
        return 2 ** (-8 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)


@dataclass(frozen=True, slots=True)
class PressSlopes(Slopes):
    """Those of released code."""

    def of(self, heads: int) -> Tensor:
        closed = GeometricSlopes()
        power = 2 ** int(math.log2(heads))
        between = closed.of(2 * power)[0::2]
        return torch.cat([closed.of(power), between[: heads - power]])


@dataclass(frozen=True, slots=True, kw_only=True)
class ALiBi(ScoreMod):
    """bias_h(m, n) = -a_h |m - n|: keys that come after a row, where they are seen, are as far."""

    distance_alone = True

    slopes: Slopes

    def bias(self, heads: int, rows: Tensor, keys: Tensor) -> Tensor:
        distances = (rows - keys).abs()
        slopes = self.slopes.of(heads).to(distances.device)
        return -slopes.view(-1, *[1] * distances.ndim) * distances
