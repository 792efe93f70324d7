"""Ramps and bases of released code that no method of Ropewalk has."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry, rope_inv_freq
from ropewalk.engines.reading import Reading
from ropewalk.frequencies.checks import check_positive
from ropewalk.frequencies.ntk_aware import check_exponent, stretched_base
from ropewalk.frequencies.ramps import IndexRamp, Ramp


class CutOffs(NamedTuple):
    """Where a YaRN ramp begins and ends, in turns inside L, and whether pairs are rounded."""

    beta_fast: float
    beta_slow: float
    truncate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedRamp(Ramp):
    """``IndexRamp`` with what released code computes where the cut-offs cross (high < low).

    There the width is negative, so that pairs below ``low`` are interpolated and those above
    are left alone: the ramp runs backwards.

    Source: transformers 5.23.0 modeling_rope_utils.py, vLLM 0.33.0 rotary_embedding/common.py,
        SGLang 0.5.23 rotary_embedding/yarn.py, all find_correction_range and linear ramp.
    """

    inner: IndexRamp

    def interpolated(self, geometry: RopeGeometry) -> Tensor:
        low, high = self.inner.cut_offs(geometry)
        if high >= low:
            return self.inner.interpolated(geometry)
        pairs = torch.arange((geometry.rotary_dim + 1) // 2, dtype=torch.float64)
        return ((pairs - low) / (high - low)).clamp(0, 1)


def released_ramp(reading: Reading, cut_offs: CutOffs) -> Ramp:
    """What transformers, vLLM and SGLang compute."""
    return ReleasedRamp(inner=IndexRamp(**cut_offs._asdict()))


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchedBase(Frequencies):
    """RoPE with base b * stretch^(d / (d - 2)), at every length.

    stretch  any number above 0; below 1 every pair rotates faster than in training

    Raises RopewalkError for d = 2, and unless stretch and base are finite numbers above 0.
    """

    geometry: RopeGeometry
    stretch: float

    def __post_init__(self) -> None:
        check_exponent(self.geometry.rotary_dim)
        check_positive(self.stretch, "the stretch of the base (factor or alpha)")
        check_positive(self.base, f"rope_theta stretched by {self.stretch:.4g}")

    @property
    def base(self) -> float:
        """Infinite where it is more than a float64 holds."""
        try:
            return stretched_base(self.geometry.rope_theta, self.geometry.rotary_dim, self.stretch)
        except OverflowError:
            return math.inf

    def inv_freq(self, context_length: int) -> Tensor:
        return rope_inv_freq(self.geometry.rotary_dim, self.base)
