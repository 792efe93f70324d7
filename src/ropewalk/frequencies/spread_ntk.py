"""NTK whose every frequency is divided once more: GTE's checkpoints and vLLM's type ``ntk``.

    (b s)^(-2i/d) / s^(2/d)
    b^(-2i/d) / s^(((i + 1) / (d / 2))^mixed_b)     with mixed_b

b   rope_theta, s   factor, d   rotary_dim

Source: Alibaba-NLP/new-impl, modeling.py (NTKScalingRotaryEmbedding), kexue.fm/archives/9706;
    vLLM 0.33.0 ntk_scaling_rope.py.
Deviation: none.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadNTK(Frequencies):
    """Frequencies of type ``ntk``. Raises RopewalkError for a factor below 1."""

    geometry: RopeGeometry
    factor: float
    mixed_b: float | None

    def __post_init__(self) -> None:
        check_factor(self.factor)

    def inv_freq(self, context_length: int) -> Tensor:
        theta, d, s = self.geometry.inv_freq(), self.geometry.rotary_dim, self.factor
        if self.mixed_b is None:
            base = self.geometry.rope_theta * s
            return theta.new_tensor(
                [base ** (-2 * i / d) / s ** (2 / d) for i in range(len(theta))]
            )
        exponents = [_power((i + 1) / (d / 2), self.mixed_b) for i in range(len(theta))]
        return theta / theta.new_tensor([_power(s, exponent) for exponent in exponents])


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf
