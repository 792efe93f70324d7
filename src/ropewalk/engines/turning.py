"""What one rope rule of an engine comes to, and the frequencies that engines share."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.core.geometry import RopeGeometry, rope_inv_freq
from ropewalk.engines.answer import EngineAnswer, TwoTables
from ropewalk.engines.reading import Reading
from ropewalk.frequencies.checks import check_positive
from ropewalk.frequencies.linear import Linear
from ropewalk.frequencies.longrope import LongRoPE
from ropewalk.frequencies.ntk_aware import check_exponent, stretched_base
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.proportional import Proportional
from ropewalk.frequencies.ramps import IndexRamp, Ramp, TurnsRamp


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turning:
    """Frequencies and what goes with them; the fields are those of ``EngineAnswer``."""

    inv_freq: Tensor
    inv_freq_short: Tensor | None = None
    inv_freq_long: Tensor | None = None
    attention_factor: float = 1.0
    table_rows: int | TwoTables | None = None
    choice: str = "one table for every length"
    keys_read: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedRamp(Ramp):
    """``IndexRamp`` with what released code computes where the cut-offs cross (high < low).

    There the width is negative, so that pairs below ``low`` are interpolated and those above
    are left alone: the ramp is turned round.

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


def unscaled(reading: Reading) -> Tensor:
    return reading.section.geometry().inv_freq()


def divided(reading: Reading, factor: float) -> Tensor:
    """Linear interpolation."""
    geometry = reading.section.geometry()
    schedule = Linear(geometry=geometry, factor=factor)
    return schedule.inv_freq(geometry.trained_length)


def stretched(reading: Reading, stretch: float) -> Tensor:
    """The base times stretch^(d / (d - 2)); RopewalkError unless that is a number above 0."""
    geometry = reading.section.geometry()
    check_exponent(geometry.rotary_dim)
    check_positive(stretch, "the stretch of the base (factor or alpha)")
    try:
        base = stretched_base(geometry.rope_theta, geometry.rotary_dim, stretch)
    except OverflowError:
        base = math.inf
    check_positive(base, f"rope_theta stretched by {stretch:.4g}")
    return rope_inv_freq(geometry.rotary_dim, base)


def by_parts(
    reading: Reading,
    factor: float,
    *,
    beta_fast: float,
    beta_slow: float,
    truncate: bool,
    trained_length: int,
) -> Tensor:
    """YaRN's frequencies."""
    inner = IndexRamp(beta_fast=beta_fast, beta_slow=beta_slow, truncate=truncate)
    return _blended(reading, factor, ReleasedRamp(inner=inner), trained_length)


def llama3_blend(reading: Reading, factor: float, low: float, high: float) -> Tensor:
    """Llama 3's frequencies; ``low`` and ``high`` in turns inside L."""
    ramp = TurnsRamp(beta_fast=high, beta_slow=low)
    return _blended(reading, factor, ramp, reading.original)


def longrope_lists(reading: Reading) -> tuple[Tensor, Tensor]:
    """Frequencies of the short and the long list."""
    geometry = reading.section.geometry()
    schedule = LongRoPE(
        geometry=replace(geometry, trained_length=reading.original),
        short_factor=reading.numbers("short_factor"),
        long_factor=reading.numbers("long_factor"),
        short_magnitude=1.0,
        long_magnitude=1.0,
    )
    return schedule.inv_freq(reading.original), schedule.inv_freq(reading.original + 1)


def partly(reading: Reading, factor: float) -> Tensor:
    """Proportional RoPE."""
    geometry = reading.section.geometry()
    share = reading.number("partial_rotary_factor")
    schedule = Proportional(
        geometry=geometry,
        partial_rotary_factor=1.0 if share is None else share,
        factor=factor,
    )
    return schedule.inv_freq(geometry.trained_length)


def answered(frame: EngineAnswer, turned: Turning) -> EngineAnswer:
    """``frame`` with the fields of ``turned`` filled in."""
    return replace(
        frame,
        inv_freq=_floats(turned.inv_freq),
        inv_freq_short=_floats(turned.inv_freq_short),
        inv_freq_long=_floats(turned.inv_freq_long),
        attention_factor=turned.attention_factor,
        table_rows=turned.table_rows,
        choice=turned.choice,
        keys_read=frozenset(turned.keys_read),
        notes=turned.notes,
    )


def _floats(theta: Tensor | None) -> tuple[float, ...] | None:
    return None if theta is None else tuple(theta.tolist())


def _blended(reading: Reading, factor: float, ramp: Ramp, trained_length: int) -> Tensor:
    geometry = reading.section.geometry()
    schedule = NTKByParts(
        geometry=replace(geometry, trained_length=trained_length),
        factor=factor,
        ramp=ramp,
    )
    return schedule.inv_freq(trained_length)
