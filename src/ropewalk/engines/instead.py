"""INSTEAD: what engines are known to compute in the place of what was asked.

Each entry turns the encoding that was asked for into the one that comes of it where a release
drops, rounds or freezes something; None where it would come to the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import Fixed
from ropewalk.engines.ramps import StretchedBase
from ropewalk.frequencies.dynamic_ntk import DynamicNTK
from ropewalk.frequencies.longrope import LongRoPE
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.ramps import IndexRamp

Change = Callable[[Encoding], Encoding | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """One departure.

    name      in words, of what is computed
    findings  kinds of ``FINDINGS`` that explain it, the likeliest first
    change    makes it of what was asked
    """

    name: str
    findings: tuple[str, ...]
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnified(Frequencies):
    """The same speeds under a power of the attention factor: 0 drops it, 2 applies it twice."""

    geometry: RopeGeometry
    inner: Frequencies
    power: int

    def inv_freq(self, context_length: int) -> Tensor:
        return self.inner.inv_freq(context_length)

    def attention_factor(self, context_length: int) -> float:
        return self.inner.attention_factor(context_length) ** self.power

    @property
    def length_dependent(self) -> bool:
        return self.inner.length_dependent


def _magnified(power: int) -> Change:
    def change(asked: Encoding) -> Encoding | None:
        inner = asked.frequencies
        longest = 2**40
        if inner is None or inner.attention_factor(longest) == 1.0:
            return None
        frequencies = Magnified(geometry=inner.geometry, inner=inner, power=power)
        return replace(asked, frequencies=frequencies)

    return change


def _ramp(of: Callable[[IndexRamp], IndexRamp]) -> Change:
    """With another ramp of YaRN's code."""

    def change(asked: Encoding) -> Encoding | None:
        match asked.frequencies:
            case NTKByParts(ramp=IndexRamp() as ramp) if of(ramp) != ramp:
                return replace(asked, frequencies=replace(asked.frequencies, ramp=of(ramp)))
        return None

    return change


def _constant(asked: Encoding) -> Encoding | None:
    """b (a a - (a - 1))^(d / (d - 2)) at every length."""
    match asked.frequencies:
        case DynamicNTK(geometry=geometry, factor=a) if a > 1:
            frequencies = StretchedBase(geometry=geometry, stretch=a * a - (a - 1))
            return replace(asked, frequencies=frequencies)
    return None


def _one_list(beyond: int) -> Change:
    """LongRoPE's lists under one length: L0 has the short one, L0 + 1 the long one."""

    def change(asked: Encoding) -> Encoding | None:
        if not isinstance(asked.frequencies, LongRoPE):
            return None
        length = asked.frequencies.geometry.trained_length + beyond
        return replace(asked, length_policy=Fixed(length=length))

    return change


def frozen_at(length: int) -> Instead:
    """One L for every request, as engines with tables built at load compute."""

    def change(asked: Encoding) -> Encoding | None:
        follows = asked.length_dependent and not isinstance(asked.frequencies, LongRoPE)
        return replace(asked, length_policy=Fixed(length=length)) if follows else None

    return Instead(
        name=f"one base, that of {length:,} tokens", findings=("dynamic-cache",), change=change
    )


INSTEAD = (
    Instead(
        name="the attention factor dropped",
        findings=("attention-factor-ignored", "mscale-pair-ignored"),
        change=_magnified(0),
    ),
    Instead(
        name="the attention factor twice",
        findings=("attention-factor-squared", "attn-factor"),
        change=_magnified(2),
    ),
    Instead(
        name="beta_fast 32 and beta_slow 1",
        findings=("betas-ignored",),
        change=_ramp(lambda ramp: replace(ramp, beta_fast=32.0, beta_slow=1.0)),
    ),
    Instead(
        name="cut-offs rounded",
        findings=("truncate-ignored", "nested-truncate"),
        change=_ramp(lambda ramp: replace(ramp, truncate=True)),
    ),
    Instead(
        name="dynamic as a constant",
        findings=("dynamic-constant", "dynamic-release"),
        change=_constant,
    ),
    Instead(
        name="the short list alone",
        findings=("phimoe-short-list", "longrope-choice"),
        change=_one_list(0),
    ),
    Instead(name="the long list alone", findings=("longrope-choice",), change=_one_list(1)),
)
UNSCALED = ("dynamic-no-op", "dynamic-dropped", "longrope-without-lists", "type-dropped")
"""Kinds that explain unscaled RoPE where something else was asked."""
