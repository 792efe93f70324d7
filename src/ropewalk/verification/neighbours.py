"""Encodings close to one: what tells another factor, base or magnitude from rounding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry

STEP = 0.03
"""Relative: small enough that log-probabilities follow in a straight line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nudged(Frequencies):
    """Frequencies of which the slow pairs, or all vectors, are changed a little.

        theta_i' = theta_i (1 - slower i / (f - 1)),    A' = A (1 + longer)

    slower  a larger factor or base does about this
    longer  another attention factor
    """

    geometry: RopeGeometry
    inner: Frequencies
    slower: float = 0.0
    longer: float = 0.0

    def inv_freq(self, context_length: int) -> Tensor:
        theta = self.inner.inv_freq(context_length)
        return theta * (1 - self.slower * torch.linspace(0, 1, len(theta), dtype=theta.dtype))

    def attention_factor(self, context_length: int) -> float:
        return self.inner.attention_factor(context_length) * (1 + self.longer)

    @property
    def length_dependent(self) -> bool:
        return self.inner.length_dependent


def _nudged(slower: float, longer: float) -> Callable[[Encoding], Encoding]:
    def change(encoding: Encoding) -> Encoding:
        inner = encoding.rotation
        geometry = inner.geometry
        frequencies = Nudged(geometry=geometry, inner=inner, slower=slower, longer=longer)
        return replace(encoding, frequencies=frequencies)

    return change


NEIGHBOURS: Mapping[str, Callable[[Encoding], Encoding]] = MappingProxyType(
    {
        "another factor or base": _nudged(STEP, 0.0),
        "another attention factor": _nudged(0.0, STEP),
    }
)
