"""Ramps: how much of a pair is interpolated, from 0 (left alone) to 1 (divided by the factor).

With r_i = L0 * theta_i / (2 pi), the turns that pair i makes inside the trained length L0,
pairs with r_i above ``beta_fast`` are left alone and pairs below ``beta_slow`` are fully
interpolated. Between the two cut-offs a ramp is linear either in the pair's index i or in r_i.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_positive


class Ramp(ABC):
    """The share of interpolation of each pair. Pure; float64."""

    @abstractmethod
    def interpolated(self, geometry: RopeGeometry) -> Tensor:
        """Share in [0, 1] of each pair, float64 ``[f]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRamp(Ramp):
    """Linear in the pair index, as in the code that released checkpoints were trained with.

        index(r) = d ln(L0 / (2 pi r)) / (2 ln b)
        low = max(index(beta_fast), 0),  high = min(index(beta_slow), d - 1)
        share_i = clamp((i - low) / (high - low), 0, 1)

    truncate  round low down and high up to whole pairs first

    low = high is a step (a ramp 0.001 pairs wide); where high < low nothing is interpolated.

    Source: jquesnelle/yarn, YaRN scaled rotary embedding; ``truncate`` from gpt-oss.
    Deviation: from the paper's ramp (``TurnsRamp``), by up to 56 % of a frequency. The upper
        clamp is d - 1 although there are d / 2 pairs: only tiny bases feel it. Where high < low
        released code divides by a negative width.
    """

    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    def __post_init__(self) -> None:
        check_positive(self.beta_fast, "beta_fast")
        check_positive(self.beta_slow, "beta_slow")

    def interpolated(self, geometry: RopeGeometry) -> Tensor:
        low, high = self.cut_offs(geometry)
        pairs = torch.arange((geometry.rotary_dim + 1) // 2, dtype=torch.float64)
        if high < low:
            return torch.zeros_like(pairs)
        width = high - low if high > low else 0.001
        return ((pairs - low) / width).clamp(0, 1)

    def cut_offs(self, geometry: RopeGeometry) -> tuple[float, float]:
        """low and high: pairs below the one are left alone, those above the other interpolated."""

        def index(turns: float) -> float:
            log_theta = math.log(2 * math.pi) + math.log(turns) - math.log(geometry.trained_length)
            return -geometry.rotary_dim * log_theta / (2 * math.log(geometry.rope_theta))

        low, high = index(self.beta_fast), index(self.beta_slow)
        if self.truncate:
            low, high = float(math.floor(low)), float(math.ceil(high))
        return max(low, 0.0), min(high, geometry.rotary_dim - 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsRamp(Ramp):
    """Linear in the number of turns, as in YaRN's paper and in Llama 3's code.

        share_i = 1 - clamp((r_i - beta_slow) / (beta_fast - beta_slow), 0, 1)

    Cut-offs that touch are a step: Llama 4's configs state 1 and 1.

    Source: Peng et al. 2023, YaRN, arXiv:2309.00071, equations 17 and 18 (alpha is beta_slow).
    Deviation: none.

    Raises RopewalkError for beta_fast below beta_slow.
    """

    beta_fast: float = 32.0
    beta_slow: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.beta_slow, "beta_slow")
        if not self.beta_slow <= self.beta_fast < float("inf"):
            raise RopewalkError(
                f"beta_fast={self.beta_fast}, beta_slow={self.beta_slow}: expected the cut-off "
                "of the fast pairs no less than that of the slow ones; exchange them"
            )

    def interpolated(self, geometry: RopeGeometry) -> Tensor:
        turns = geometry.trained_length * geometry.inv_freq() / (2 * math.pi)
        if self.beta_fast == self.beta_slow:
            return (turns <= self.beta_slow).double()
        kept = (turns - self.beta_slow) / (self.beta_fast - self.beta_slow)
        return 1 - kept.clamp(0, 1)
