"""One row a rope type: how a rope dict becomes frequencies.

A row says how most engines read a type, and each engine's table says where it departs:

    YarnRow()                    the shared row
    YarnRow(truncate=ROUNDED)    an engine that never reads ``truncate``

M   max_position_embeddings, L   original_max_position_embeddings

Source: transformers 5.23.0, modeling_rope_utils.py, unless an engine's table says otherwise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ropewalk.configs.keys import ORIGINAL
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.engines.answer import Rotation, TwoTables
from ropewalk.engines.magnitudes import longrope_magnitudes, yarn_magnitude
from ropewalk.engines.ramps import CutOffs, StretchedBase, released_ramp
from ropewalk.engines.reading import Reading
from ropewalk.engines.stated import (
    BETA_FAST,
    BETA_SLOW,
    Read,
    Stated,
    factor_or_ratio,
    keys_of,
    optional,
    original_length,
    required,
    truncate,
)
from ropewalk.frequencies.linear import Linear
from ropewalk.frequencies.longrope import LongRoPE
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.proportional import Proportional
from ropewalk.frequencies.ramps import Ramp, TurnsRamp
from ropewalk.frequencies.unscaled import Unscaled

Rule = Callable[[Reading], Rotation]
"""How one engine reads one rope type. EngineRaises where the engine raises."""

_LISTS = ("short_factor", "long_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscaledRow:
    """``default``."""

    geometry: Callable[[Reading], RopeGeometry] = Reading.geometry

    def __call__(self, reading: Reading) -> Rotation:
        return Rotation(frequencies=Unscaled(geometry=self.geometry(reading)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRow:
    """``linear``: theta / factor."""

    factor: Read

    def __call__(self, reading: Reading) -> Rotation:
        factor = self.factor(reading)
        frequencies = Linear(geometry=reading.geometry(), factor=factor.value)
        return Rotation(frequencies=frequencies, keys_read=factor.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnRow:
    """``yarn``: NTK-by-parts with a magnitude; a beta or an mscale of 0 is absent.

    magnitude       (reading, factor) -> the attention factor
    trained_length  L of the ramp and of the table
    """

    factor: Read = factor_or_ratio
    beta_fast: Read = BETA_FAST
    beta_slow: Read = BETA_SLOW
    truncate: Read = truncate
    ramp: Callable[[Reading, CutOffs], Ramp] = released_ramp
    magnitude: Callable[[Reading, float], Stated] = yarn_magnitude
    trained_length: Callable[[Reading], int] = original_length

    def __call__(self, reading: Reading) -> Rotation:
        numbers = (self.factor, self.beta_fast, self.beta_slow, self.truncate)
        factor, fast, slow, rounded = (read(reading) for read in numbers)
        magnitude = self.magnitude(reading, factor.value)
        frequencies = NTKByParts(
            geometry=reading.geometry(self.trained_length(reading)),
            factor=factor.value,
            ramp=self.ramp(reading, CutOffs(fast.value, slow.value, bool(rounded.value))),
            magnitude=magnitude.value,
        )
        keys = keys_of(factor, fast, slow, rounded, magnitude)
        return Rotation(frequencies=frequencies, keys_read=(ORIGINAL, *keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama3Row:
    """``llama3``: NTK-by-parts whose ramp is linear in turns."""

    factor: Read
    low_freq_factor: Read
    high_freq_factor: Read

    @classmethod
    def requiring(cls, error: str) -> "Llama3Row":
        """The row of an engine that raises ``error`` where a number is null or missing."""
        return cls(
            factor=required("factor", error),
            low_freq_factor=required("low_freq_factor", error),
            high_freq_factor=required("high_freq_factor", error),
        )

    def __call__(self, reading: Reading) -> Rotation:
        numbers = (self.factor, self.low_freq_factor, self.high_freq_factor)
        factor, low, high = (read(reading) for read in numbers)
        frequencies = NTKByParts(
            geometry=reading.geometry(reading.original),
            factor=factor.value,
            ramp=TurnsRamp(beta_fast=high.value, beta_slow=low.value),
        )
        return Rotation(frequencies=frequencies, keys_read=(ORIGINAL, *keys_of(factor, low, high)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRopeRow:
    """``longrope``: a list of divisors up to L, another one beyond.

    magnitudes  attention factors of the short and the long list
    choice      when an engine takes the long list; ``{original}`` stands for L
    """

    magnitudes: Callable[[Reading], tuple[Stated, Stated]] = longrope_magnitudes
    choice: str
    notes: tuple[str, ...] = ()

    def __call__(self, reading: Reading) -> Rotation:
        lists, keys = self.lists(reading)
        return Rotation(
            frequencies=lists,
            lists=lists,
            choice=self.choice.format(original=reading.original),
            keys_read=keys,
            notes=tuple(note.format(original=reading.original) for note in self.notes),
        )

    def lists(self, reading: Reading) -> tuple[LongRoPE, tuple[str, ...]]:
        """Both lists with their attention factors, and the keys that decide them."""
        short_factor, long_factor = map(reading.numbers, _LISTS)
        short, long = self.magnitudes(reading)
        lists = LongRoPE(
            geometry=reading.geometry(reading.original),
            short_factor=short_factor,
            long_factor=long_factor,
            short_magnitude=short.value,
            long_magnitude=long.value,
        )
        return lists, (*_LISTS, ORIGINAL, *keys_of(short, long))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProportionalRow:
    """``proportional``: only the fastest share of the pairs rotates."""

    factor: Read

    def __call__(self, reading: Reading) -> Rotation:
        factor, share = self.factor(reading), optional("partial_rotary_factor", 1.0)(reading)
        frequencies = Proportional(
            geometry=reading.geometry(),
            partial_rotary_factor=share.value,
            factor=factor.value,
        )
        return Rotation(frequencies=frequencies, keys_read=keys_of(share, factor))


def stretched(reading: Reading, stretch: Stated) -> Rotation:
    """The base times stretch^(d / (d - 2)), once for all lengths."""
    frequencies = StretchedBase(geometry=reading.geometry(), stretch=stretch.value)
    return Rotation(frequencies=frequencies, keys_read=stretch.keys)


def served_rows(frequencies: Frequencies, longest: int) -> int | TwoTables:
    """Rows of a table of cos and sin that is built for ``longest`` positions of unscaled RoPE.

    Source: vLLM 0.33.0 and SGLang 0.5.23, _compute_cos_sin_cache of each rotary class.
    """
    match frequencies:
        case Linear(factor=factor):
            return math.ceil(longest * factor)
        case NTKByParts(ramp=ramp, factor=factor) if not isinstance(ramp, TurnsRamp):
            return math.ceil(frequencies.geometry.trained_length * factor)
        case LongRoPE():
            return TwoTables(short=frequencies.geometry.trained_length, long=longest)
    return longest
