"""llama.cpp's kernel: how it blends and rounds frequencies.

Source: llama.cpp 0c1e57098, ggml/src/ggml-cpu/ops.cpp (ggml_rope_yarn, ggml_rope_cache_init).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.engines.ramps import CutOffs, StretchedBase
from ropewalk.engines.reading import Reading
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.ramps import Ramp


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRamp(Ramp):
    """YaRN's ramp with cut-offs that are always rounded, and the kernel's own guard.

        share_i = clip((i - low) / max(0.001, high - low), 0, 1)

    Cut-offs that cross give a step. Betas of 0 give a cut-off at infinity.
    """

    beta_fast: float
    beta_slow: float

    def interpolated(self, geometry: RopeGeometry) -> Tensor:
        d = geometry.rotary_dim

        def index(beta: float) -> Tensor:
            turns = torch.tensor(beta, dtype=torch.float64) * 2 * math.pi
            logarithm = torch.log(geometry.trained_length / turns)
            return d * logarithm / (2 * math.log(geometry.rope_theta))

        low = index(self.beta_fast).floor().clamp(min=0)
        high = index(self.beta_slow).ceil().clamp(max=d - 1)
        pairs = torch.arange(d // 2, dtype=torch.float64)
        return ((pairs - low) / (high - low).clamp(min=0.001)).clamp(0, 1)


def kernel_ramp(reading: Reading, cut_offs: CutOffs) -> Ramp:
    """The ramp; the kernel knows no ``truncate``."""
    return KernelRamp(beta_fast=cut_offs.beta_fast, beta_slow=cut_offs.beta_slow)


@dataclass(frozen=True, slots=True, kw_only=True)
class InKernel(Frequencies):
    """The kernel's rounding: each pair's theta is the one before times a float32 constant.

    geometry    its base is the one whose powers the kernel walks through
    inner       the frequencies without it
    multiplier  rope.scaling.attn_factor, on the attention factor
    """

    geometry: RopeGeometry
    inner: Frequencies
    multiplier: float = 1.0

    def inv_freq(self, context_length: int) -> Tensor:
        exact = self.geometry.inv_freq()
        step = exact[1:2].float().expand(len(exact) - 1)
        walked = torch.cumprod(torch.cat([torch.ones(1), step]), 0)
        return self.inner.inv_freq(context_length) * (walked.double() / exact)

    def attention_factor(self, context_length: int) -> float:
        return self.inner.attention_factor(context_length) * self.multiplier

    @property
    def length_dependent(self) -> bool:
        return self.inner.length_dependent


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What flags set over the file's own.

    beta_fast, beta_slow  cut-offs, which every architecture obeys, unlike those of the file
    attn_factor           by which the context multiplies the attention factor
    """

    beta_fast: float | None = None
    beta_slow: float | None = None
    attn_factor: float = 1.0

    def in_kernel(self, frequencies: Frequencies) -> InKernel:
        """``frequencies`` under these settings, as the kernel walks through them."""
        given = {"beta_fast": self.beta_fast, "beta_slow": self.beta_slow}
        betas = {key: value for key, value in given.items() if value is not None}
        geometry = frequencies.geometry
        if isinstance(frequencies, StretchedBase):
            geometry = replace(geometry, rope_theta=frequencies.base)
        if isinstance(frequencies, NTKByParts) and isinstance(frequencies.ramp, KernelRamp):
            frequencies = replace(frequencies, ramp=replace(frequencies.ramp, **betas))
        return InKernel(geometry=geometry, inner=frequencies, multiplier=self.attn_factor)


FILES_OWN = Context()
"""No flag."""
