"""SGLang 0.5.23: which rotary class a config gets, and what its table holds.

Source: SGLang 0.5.23, srt/layers/rotary_embedding: factory.py (get_rope), yarn.py, mrope.py,
    rope_variant.py, base.py.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import TwoTables
from ropewalk.engines.magnitudes import longrope_magnitude, mscale_ratio
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.serving import BETAS, betas, linear_factor, yarn_factor
from ropewalk.engines.turning import (
    Turning,
    by_parts,
    divided,
    llama3_blend,
    longrope_lists,
    partly,
    stretched,
    unscaled,
)
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

Rule = Callable[[Reading, int], Turning]
"""(reading, served length) -> Turning"""
TRANSLATES_ATTENTION_FACTOR = frozenset({"laguna"})
"""Model types whose own code turns attention_factor into attn_factor (configs/laguna.py)."""
_YARN_KEYS = ("factor", ORIGINAL, *BETAS, "attn_factor", "extrapolation_factor")
_NO_FACTOR = "TypeError: unsupported operand type(s) for *: 'int' and 'NoneType'"


def _default(reading: Reading, served: int) -> Turning:
    return Turning(inv_freq=unscaled(reading), table_rows=reading.longest)


def _linear(reading: Reading, served: int) -> Turning:
    factor = linear_factor(reading)
    return Turning(
        inv_freq=divided(reading, factor),
        table_rows=math.ceil(reading.longest * factor),
        keys_read=("factor",),
    )


def _dynamic(reading: Reading, served: int) -> Turning:
    """b * (a a - (a - 1))^(d / (d - 2)): the same at every length; alpha as in Hunyuan."""
    if "alpha" in reading.rope:
        alpha = reading.required("alpha", _NO_FACTOR)
        return Turning(
            inv_freq=stretched(reading, alpha), table_rows=reading.longest, keys_read=("alpha",)
        )
    factor = reading.required("factor", _NO_FACTOR)
    return Turning(
        inv_freq=stretched(reading, factor * factor - (factor - 1)),
        table_rows=math.ceil(reading.longest * factor),
        choice="one base for every length",
        keys_read=("factor",),
    )


def _yarn(reading: Reading, served: int) -> Turning:
    """attn_factor multiplies; an mscale of 0 counts as given; attention_factor is read by the
    few config classes that translate it (TRANSLATES_ATTENTION_FACTOR), and is final there.

    Where the config has mrope sections the class takes no mscale at all (mrope.py).
    """
    factor, (fast, slow) = yarn_factor(reading), betas(reading)
    mscale, all_dim = reading.number("mscale"), reading.number("mscale_all_dim")
    sections = "mrope_section" in reading.rope
    for name in ("mscale", "mscale_all_dim"):
        if sections and name in reading.rope:
            raise EngineRaises(
                "TypeError: YaRNScalingMRotaryEmbedding.__init__() got an unexpected keyword "
                f"argument '{name}'"
            )
    paired = mscale is not None and all_dim is not None
    magnitude = mscale_ratio(factor, mscale or 0, all_dim or 0) if paired else yarn_mscale(factor)
    magnitude *= _attn_factor(reading)
    stated = reading.number("attention_factor")
    if stated is not None and reading.model_type in TRANSLATES_ATTENTION_FACTOR:
        magnitude = stated
    truncate = bool(reading.rope.get("truncate", True))
    return Turning(
        inv_freq=_mixed(reading, factor, fast, slow, truncate=truncate),
        attention_factor=magnitude,
        table_rows=math.ceil(reading.original * factor),
        keys_read=(*_YARN_KEYS, "truncate", *_magnitude_keys(reading)),
    )


def deepseek_yarn(reading: Reading, served: int) -> Turning:
    """Latent attention: YaRN for any type but default; mscale 1 and mscale_all_dim 0 if absent.

    Source: SGLang 0.5.23 models/deepseek_v2.py, rope_variant.py DeepseekScalingRotaryEmbedding.
    """
    factor, (fast, slow) = yarn_factor(reading), betas(reading)
    mscale, all_dim = reading.number("mscale"), reading.number("mscale_all_dim")
    ratio = mscale_ratio(factor, 1.0 if mscale is None else mscale, all_dim or 0.0)
    return Turning(
        inv_freq=_mixed(reading, factor, fast, slow, truncate=True),
        attention_factor=ratio * _attn_factor(reading),
        table_rows=math.ceil(reading.original * factor),
        keys_read=(*_YARN_KEYS, "mscale", "mscale_all_dim", "apply_yarn_scaling", "apply_scale"),
    )


def _longrope(reading: Reading, served: int) -> Turning:
    """Per forward and for the whole batch: the long list if any position exceeds L."""
    short, long = longrope_lists(reading)
    is_long = served > reading.original
    stated = reading.number("long_mscale" if is_long else "short_mscale")
    computed = longrope_magnitude(reading, reading.longest / reading.original)
    return Turning(
        inv_freq=long if is_long else short,
        inv_freq_short=short,
        inv_freq_long=long,
        attention_factor=computed if stated is None else stated,
        table_rows=TwoTables(short=reading.original, long=reading.longest),
        choice=f"the long list for a whole batch as soon as one position exceeds "
        f"{reading.original}",
        keys_read=("short_factor", "long_factor", ORIGINAL, "short_mscale", "long_mscale"),
        notes=(f"position {reading.original} alone is read from row 0 of the long list",),
    )


def _llama3(reading: Reading, served: int) -> Turning:
    keys = ("factor", "low_freq_factor", "high_freq_factor")
    factor, low, high = (reading.required(key, _NO_FACTOR) for key in keys)
    return Turning(
        inv_freq=llama3_blend(reading, factor, low, high),
        table_rows=reading.longest,
        keys_read=(*keys, ORIGINAL),
    )


def _proportional(reading: Reading, served: int) -> Turning:
    """``factor`` is not read (Gemma4RotaryEmbedding)."""
    return Turning(
        inv_freq=partly(reading, 1.0),
        table_rows=reading.longest,
        keys_read=("partial_rotary_factor",),
    )


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "default": _default,
        "linear": _linear,
        "dynamic": _dynamic,
        "yarn": _yarn,
        "deepseek_yarn": deepseek_yarn,
        "longrope": _longrope,
        "llama3": _llama3,
        "proportional": _proportional,
    }
)


def _mixed(
    reading: Reading, factor: float, beta_fast: float, beta_slow: float, *, truncate: bool
) -> Tensor:
    """YaRN, of which extrapolation_factor keeps a share: the rest is fully interpolated."""
    blended = by_parts(
        reading,
        factor,
        beta_fast=beta_fast,
        beta_slow=beta_slow,
        truncate=truncate,
        trained_length=reading.original,
    )
    stated = reading.number("extrapolation_factor")
    share = 1.0 if stated is None else stated
    return blended if share == 1 else share * blended + (1 - share) * divided(reading, factor)


def _magnitude_keys(reading: Reading) -> tuple[str, ...]:
    if reading.model_type in TRANSLATES_ATTENTION_FACTOR:
        return ("attention_factor",)
    return () if "mrope_section" in reading.rope else ("mscale", "mscale_all_dim")


def _attn_factor(reading: Reading) -> float:
    stated = reading.number("attn_factor")
    return 1.0 if stated is None else stated
