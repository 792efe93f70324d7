"""ALiBi: every logit falls with the distance, at a rate of its own in each head.

    bias_h(m, n) = -a_h (m - n)

    GeometricSlopes    a_h = 2^(-8 h / H),  h = 1 .. H
    PressSlopes        the same where H is a power of two; else the slopes of the power P below
                       H, then every other slope of 2P from the first on, until there are H

    InterpolatedSlopes a_h / s
    NTKSlopes          a_h / s^t_h,  t_h = ln(a_1 / a_h) / ln(a_1 / a_H): 0 for the steepest, 1 for
                       the flattest; (h - 1) / (H - 1) where slopes are geometric

H   heads;  s   factor, for a model that reads s times its trained length

Nothing is learned and nothing rotates. The bias is added to scaled logits.

Source: Press et al. 2021, Train Short, Test Long, arXiv:2108.12409, section 3;
    ofirpress/attention_with_linear_biases for PressSlopes. Al-Khateeb et al. 2023, Position
    Interpolation Improves ALiBi Extrapolation, arXiv:2310.13017, for InterpolatedSlopes;
    keezen/ntk_alibi for NTKSlopes.
Deviation: the paper's text gives the closed form for every H; released code, and so the models
    trained with it, has PressSlopes. The two differ where H is no power of two. For such H
    keezen/ntk_alibi leaves the further slopes as they are, by a note of its own unfinished.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
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


@dataclass(frozen=True, slots=True)
class GivenSlopes(Slopes):
    """Numbers, one for each head: what a model was found to have."""

    values: tuple[float, ...]

    def of(self, heads: int) -> Tensor:
        if heads != len(self.values):
            raise RopewalkError(f"{len(self.values)} slopes for {heads} heads: expected one each")
        return torch.tensor(self.values, dtype=torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolatedSlopes(Slopes):
    """a_h / s: distances are divided by s."""

    trained: Slopes
    factor: float

    def of(self, heads: int) -> Tensor:
        return self.trained.of(heads) / self.factor


@dataclass(frozen=True, slots=True, kw_only=True)
class NTKSlopes(Slopes):
    """a_h / s^t_h: the steepest is kept, the flattest divided by s."""

    trained: Slopes
    factor: float

    def of(self, heads: int) -> Tensor:
        slopes = self.trained.of(heads)
        falls = (slopes.max() / slopes).log()
        return slopes * self.factor ** -(falls / falls.max().clamp(min=torch.finfo().tiny))


@dataclass(frozen=True, slots=True, kw_only=True)
class ALiBi(ScoreMod):
    """bias_h(m, n) = -a_h |m - n|: keys that come after a row, where they are seen, are as far.

    farthest  distances beyond count as this one; None for all as they are
    """

    distance_alone = True

    slopes: Slopes
    farthest: int | None = None

    def bias(self, heads: int, rows: Tensor, keys: Tensor) -> Tensor:
        distances = (rows - keys).abs()
        if self.farthest is not None:
            distances = distances.clamp(max=self.farthest)
        slopes = self.slopes.of(heads).to(distances.device)
        return -slopes.view(-1, *[1] * distances.ndim) * distances
