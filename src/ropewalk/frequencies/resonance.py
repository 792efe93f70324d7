"""Resonance RoPE: wavelengths are whole numbers of tokens.

    lambda_i = 2 pi / theta_i,   theta_i' = 2 pi / round(lambda_i)

A pair with a whole wavelength shows the same angles in every turn, so that beyond the trained
length it shows none that training did not.

theta_i   frequencies of any schedule: plain RoPE, or YaRN (Resonance YaRN)

Source: Wang et al. 2024, Resonance RoPE, arXiv:2403.00071, section 4; sheryc/resonance_rope
    4a7f5a7 (the wavelengths of all pairs, after any scaling).
Deviation: none. Pairs that complete no turn inside the trained length are rounded too, as in the
    released code; that moves their angles by less than half of one part in the trained length.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.frequencies.modified import ModifiedFrequencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Resonance(ModifiedFrequencies):
    """Frequencies with whole wavelengths; a pair that stands still goes on standing still."""

    def modified(self, theta: Tensor) -> Tensor:
        wavelengths = torch.round(2 * math.pi / theta)
        return torch.where(theta > 0, 2 * math.pi / wavelengths.clamp(min=1), theta)
