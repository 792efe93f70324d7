"""vLLM 0.33.0: which rotary class a config gets, and what its table holds.

Source: vLLM 0.33.0, model_executor/layers/rotary_embedding (get_rope and the classes), and
    models/deepseek_v2.py for latent attention.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import TwoTables
from ropewalk.engines.magnitudes import longrope_magnitude, mscale_ratio, yarn_magnitude
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
from ropewalk.engines.vllm.dynamic import dynamic
from ropewalk.frequencies.checks import check_factor

_YARN_KEYS = ("factor", ORIGINAL, *BETAS, "attention_factor", "mscale", "mscale_all_dim")
_NO_POWER = "TypeError: unsupported operand type(s) for ** or pow(): 'NoneType' and 'float'"
_VIDEO_ROWS = 4
_NO_VIDEO_ROWS = ("qwen3_vl", "qwen3_5")

Rule = Callable[[Reading, int, int], Turning]
"""(reading, max_position, max_model_len) -> Turning"""


def _default(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    rows = max_position * positions_factor(reading)
    return Turning(inv_freq=unscaled(reading), table_rows=rows)


def positions_factor(reading: Reading) -> int:
    """How many times longer mrope's tables are, for positions of videos.

    Source: vLLM 0.33.0 rotary_embedding/mrope.py; models/qwen3_vl.py passes 1.
    """
    if "mrope_section" not in reading.rope:
        return 1
    return 1 if reading.model_type.startswith(_NO_VIDEO_ROWS) else _VIDEO_ROWS


def _linear(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    factor = linear_factor(reading)
    return Turning(
        inv_freq=divided(reading, factor),
        table_rows=math.ceil(max_position * factor),
        keys_read=("factor",),
    )


def _ntk(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    """The base times s, then all frequencies / s^(2/d); with mixed_b each pair its own divisor.

    Source: vLLM 0.33.0 ntk_scaling_rope.py (kexue.fm/archives/9706).
    """
    factor = reading.required("factor", "KeyError: 'factor'")
    check_factor(factor)
    d, mixed = reading.section.geometry().rotary_dim, reading.number("mixed_b")
    theta = unscaled(reading)
    if mixed is None:
        scaled = [
            (reading.section.rope_theta * factor) ** (-2 * i / d) / factor ** (2 / d)
            for i in range(len(theta))
        ]
    else:
        scaled = [
            value / _power(factor, _power((i + 1) / (d / 2), mixed))
            for i, value in enumerate(theta.tolist())
        ]
    return Turning(
        inv_freq=theta.new_tensor(scaled), table_rows=max_position, keys_read=("factor", "mixed_b")
    )


def _dynamic(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    if "alpha" in reading.rope:
        alpha = reading.required("alpha", _NO_POWER)
        return Turning(
            inv_freq=stretched(reading, alpha), table_rows=max_position, keys_read=("alpha",)
        )
    return dynamic(reading, max_position)


def _yarn(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    """Tables of L * factor rows; with video rows the ramp takes the longer table's length for L.

    Source: vLLM 0.33.0 yarn_scaling_rope.py, mrope.py (MRotaryEmbedding hands its enlarged
        max_position_embeddings to YaRN's correction range).
    """
    factor, (fast, slow) = yarn_factor(reading), betas(reading)
    trained = reading.original * positions_factor(reading)
    return Turning(
        inv_freq=by_parts(
            reading,
            factor,
            beta_fast=fast,
            beta_slow=slow,
            truncate=bool(reading.rope.get("truncate", True)),
            trained_length=trained,
        ),
        attention_factor=yarn_magnitude(reading, factor),
        table_rows=math.ceil(trained * factor),
        keys_read=(*_YARN_KEYS, "truncate"),
    )


def deepseek_yarn(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    """Latent attention: YaRN for any type but default; A = m(s, mscale) / m(s, mscale_all_dim)
    with defaults 1 and 0, both 0 where the config has compress_ratios; cut-offs always rounded.

    Source: vLLM 0.33.0 models/deepseek_v2.py, deepseek_scaling_rope.py.
    """
    if reading.rope.get(ORIGINAL) is None and not reading.has_original:
        raise EngineRaises(f"KeyError: '{ORIGINAL}'")
    factor, (fast, slow) = yarn_factor(reading), betas(reading)
    mscale, all_dim = reading.number("mscale"), reading.number("mscale_all_dim")
    if reading.text.get("compress_ratios"):
        mscale = all_dim = 0.0
    return Turning(
        inv_freq=by_parts(
            reading,
            factor,
            beta_fast=fast,
            beta_slow=slow,
            truncate=True,
            trained_length=reading.original,
        ),
        attention_factor=mscale_ratio(factor, 1.0 if mscale is None else mscale, all_dim or 0.0),
        table_rows=math.ceil(reading.original * factor),
        keys_read=("factor", ORIGINAL, *BETAS, "mscale", "mscale_all_dim"),
    )


def _longrope(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    """The long list for every request if max_model_len > L (pull request 27431).

    ``factor`` and ``attention_factor`` are not read: A = sqrt(1 + ln(M / L) / ln L), or
    short_mscale and long_mscale.

    Source: vLLM 0.33.0 phi3_long_rope_scaled_rope.py.
    """
    short, long = longrope_lists(reading)
    is_long = max_model_len > reading.original
    stated = reading.number("long_mscale" if is_long else "short_mscale")
    computed = longrope_magnitude(reading, max_position / reading.original)
    return Turning(
        inv_freq=long if is_long else short,
        inv_freq_short=short,
        inv_freq_long=long,
        attention_factor=computed if stated is None else stated,
        table_rows=TwoTables(short=reading.original, long=max_position),
        choice=f"the long list for every request where max_model_len exceeds {reading.original}",
        keys_read=("short_factor", "long_factor", ORIGINAL, "short_mscale", "long_mscale"),
    )


def _llama3(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    keys = ("factor", "low_freq_factor", "high_freq_factor")
    error = "TypeError: unsupported operand type(s) for /: 'int' and 'NoneType'"
    factor, low, high = (reading.required(key, error) for key in keys)
    return Turning(
        inv_freq=llama3_blend(reading, factor, low, high),
        table_rows=max_position,
        keys_read=(*keys, ORIGINAL),
    )


def _proportional(reading: Reading, max_position: int, max_model_len: int) -> Turning:
    """``factor`` is not read (gemma4_rope.py)."""
    return Turning(
        inv_freq=partly(reading, 1.0),
        table_rows=max_position,
        keys_read=("partial_rotary_factor",),
    )


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "default": _default,
        "linear": _linear,
        "ntk": _ntk,
        "dynamic": _dynamic,
        "yarn": _yarn,
        "deepseek_yarn": deepseek_yarn,
        "deepseek_llama_scaling": deepseek_yarn,
        "longrope": _longrope,
        "llama3": _llama3,
        "proportional": _proportional,
    }
)


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf
