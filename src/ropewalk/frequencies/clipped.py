"""Clipped RoPE: the slow pairs that no training turned once are brought to a stop, smoothly.

    theta_i' = theta_i * (1 + cos(pi k / (n - 1))) / 2,   k = i - (f - n)    for the last n pairs
    theta_i' = 0                                          of them, in the hard form

The first of the n keeps its frequency, the last one stands still; a hard edge leaks: attention
rings over the distance.

f   pairs; n  clip_low_n: by default the pairs that complete no turn inside the trained length

Source: Li et al. 2026, CoPE: Clipped RoPE as a Scalable Free Lunch for Long Context LLMs,
    arXiv:2602.05258; hrlics/CoPE ed52ba5, modeling_cope.py (soft and hard clip, over the
    frequencies of any rope type). Not Contextual Position Encoding, also called CoPE.
Deviation: the released code writes n = 20 of 64 pairs into its file (a base of 10^7 and 65,536
    tokens have 27 pairs without a turn); n is counted here.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.modified import ModifiedFrequencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip(ModifiedFrequencies):
    """The last ``count`` pairs tapered. RopewalkError unless 0 <= count < f."""

    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.count < _pairs(self.geometry):
            raise RopewalkError(
                f"clip_low_n={self.count}: expected 0 to {_pairs(self.geometry) - 1}, fewer than "
                "the pairs that rotate"
            )

    @abstractmethod
    def taper(self) -> Tensor:
        """What the clipped pairs keep of their frequencies, float64 ``[count]``."""

    def modified(self, theta: Tensor) -> Tensor:
        kept = theta.shape[-1] - self.count
        return torch.cat((theta[:kept], theta[kept:] * self.taper().to(theta.device)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftClip(Clip):
    """A cosine from 1 down to 0."""

    def taper(self) -> Tensor:
        steps = torch.arange(self.count, dtype=torch.float64) / max(self.count - 1, 1)
        return (1 + torch.cos(math.pi * steps)) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HardClip(Clip):
    """All of them stand still."""

    def taper(self) -> Tensor:
        return torch.zeros(self.count, dtype=torch.float64)


def pairs_without_a_turn(geometry: RopeGeometry) -> int:
    """Pairs whose period is longer than the trained length; never the fastest one."""
    slow = int((geometry.inv_freq() * geometry.trained_length < 2 * math.pi).sum())
    return min(slow, _pairs(geometry) - 1)


def _pairs(geometry: RopeGeometry) -> int:
    return (geometry.rotary_dim + 1) // 2
