"""transformers 5.23.0: frequencies computed on every forward pass, from the sequence so far.

Source: transformers 5.23.0, modeling_rope_utils.py (ROPE_INIT_FUNCTIONS, dynamic_rope_update);
    models/phimoe, models/olmo3, models/hunyuan_v1_dense for what those classes do themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.magnitudes import latent_multiplier, longrope_magnitude, yarn_magnitude
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.transformers.config_class import loaded_type
from ropewalk.engines.turning import (
    Turning,
    answered,
    by_parts,
    divided,
    llama3_blend,
    longrope_lists,
    partly,
    stretched,
    unscaled,
)
from ropewalk.frequencies.dynamic_ntk import DynamicNTK

NAME, VERSION = "transformers", "5.23.0"
OLMO3_THETA = 500_000.0
_FILL_HEAD_DIM = frozenset(
    {"arcee", "aria_text", "csm", "deepseek_v2", "diffllama", "ernie4_5", "eurobert", "hyperclovax"}
    | {"internlm3", "jais2", "llama", "minicpm3", "mistral", "moshi", "nemotron", "nomic_bert"}
    | {"gpt_oss", "ministral3", "longcat_flash", "seed_oss"}
)
_NEEDS_HEAD_DIM = ("dynamic", "yarn", "longrope")
_CACHED = "keys already in the cache keep the rotation they were written with"


def transformers_5_23(
    config: Mapping[str, Any], served_length: int | None, layer_type: str | None
) -> EngineAnswer:
    """What transformers computes in one call over ``served_length`` tokens (default M)."""
    reading = Reading.of(config, served_length, layer_type)
    frame = EngineAnswer(
        engine=NAME,
        version=VERSION,
        table_dtype="float32, cast to the activations' dtype",
        choice="no table",
        pairing=reading.section.pairing,
        keys_read=frozenset(),
    )
    try:
        turned = hf_turning(reading)
    except EngineRaises as raised:
        return replace(frame, error=str(raised))
    return replace(
        answered(frame, turned),
        softmax_scale_multiplier=_softmax_multiplier(reading),
        max_length=reading.longest,
    )


def hf_turning(reading: Reading) -> Turning:
    """The rotation of the library's own rotary module, which vLLM's and SGLang's transformers
    backends run as well. EngineRaises where the library raises."""
    name = loaded_type(reading)
    if name not in _RULES:
        raise EngineRaises(f"KeyError: {name!r}")
    if name in _NEEDS_HEAD_DIM and _head_dim_is_null(reading):
        raise EngineRaises("TypeError: unsupported operand type(s) for *: 'NoneType' and 'float'")
    return _RULES[name](reading)


def _served(reading: Reading) -> int:
    return reading.served_length or reading.longest


def _default(reading: Reading) -> Turning:
    return Turning(inv_freq=unscaled(_as_olmo3(reading)), choice="no table")


def _linear(reading: Reading) -> Turning:
    factor = reading.required("factor", _NULL_DIVISOR)
    return Turning(inv_freq=divided(reading, factor), choice="no table", keys_read=("factor",))


def _dynamic(reading: Reading) -> Turning:
    """theta * (s N / M - (s - 1))^(d / (d - 2)), N = max(tokens so far, M)."""
    alpha = reading.number("alpha")
    if alpha and reading.model_type.startswith("hunyuan"):
        return Turning(
            inv_freq=stretched(reading, alpha), choice="one base (alpha)", keys_read=("alpha",)
        )
    geometry = reading.section.geometry()
    schedule = DynamicNTK(
        geometry=replace(geometry, trained_length=reading.longest),
        factor=reading.required("factor", _NULL_DIVISOR),
    )
    return Turning(
        inv_freq=schedule.inv_freq(_served(reading)),
        choice="the base grows with max(position)+1 over the whole batch, beyond "
        "max_position_embeddings",
        keys_read=("factor",),
        notes=(_CACHED,),
    )


def _yarn(reading: Reading) -> Turning:
    """``truncate`` is read beside the per-layer dicts, so a nested one never counts."""
    factor = reading.number("factor")
    factor = reading.longest / reading.original if factor is None else factor
    truncate = ("truncate",) if not reading.nested else ()
    return Turning(
        inv_freq=by_parts(
            reading,
            factor,
            beta_fast=reading.number("beta_fast") or 32.0,
            beta_slow=reading.number("beta_slow") or 1.0,
            truncate=reading.nested or bool(reading.rope.get("truncate", True)),
            trained_length=reading.original,
        ),
        attention_factor=yarn_magnitude(reading, factor),
        choice="no table",
        keys_read=(
            *("factor", "original_max_position_embeddings", "beta_fast", "beta_slow"),
            *("attention_factor", "mscale", "mscale_all_dim", *truncate),
        ),
    )


def _longrope(reading: Reading) -> Turning:
    short, long = longrope_lists(reading)
    is_long = _served(reading) > reading.original
    keys = ("short_factor", "long_factor", "original_max_position_embeddings")
    if reading.model_type == "phimoe":
        name = "long_mscale" if is_long else "short_mscale"
        return Turning(
            inv_freq=short,
            attention_factor=reading.required(name, f"KeyError: '{name}'"),
            choice="always the short list; only its magnitude follows the length",
            keys_read=("short_mscale", "long_mscale", *keys),
        )
    factor = reading.number("factor")
    factor = reading.longest / reading.original if factor is None else factor
    stated = reading.number("attention_factor")
    return Turning(
        inv_freq=long if is_long else short,
        inv_freq_short=short,
        inv_freq_long=long,
        attention_factor=longrope_magnitude(reading, factor) if stated is None else stated,
        choice="the long list for a whole call as soon as max(position)+1 exceeds "
        f"{reading.original}",
        keys_read=("factor", "attention_factor", *keys),
        notes=(_CACHED,),
    )


def _llama3(reading: Reading) -> Turning:
    keys = ("factor", "low_freq_factor", "high_freq_factor")
    factor, low, high = (reading.required(key, _NULL_DIVISOR) for key in keys)
    return Turning(
        inv_freq=llama3_blend(reading, factor, low, high),
        choice="no table",
        keys_read=(*keys, "original_max_position_embeddings"),
    )


def _proportional(reading: Reading) -> Turning:
    factor = reading.number("factor")
    return Turning(
        inv_freq=partly(reading, 1.0 if factor is None else factor),
        choice="no table",
        keys_read=("factor", "partial_rotary_factor"),
    )


_NULL_DIVISOR = "TypeError: unsupported operand type(s) for /=: 'Tensor' and 'NoneType'"
_RULES: Mapping[str, Callable[[Reading], Turning]] = MappingProxyType(
    {
        "default": _default,
        "linear": _linear,
        "dynamic": _dynamic,
        "yarn": _yarn,
        "longrope": _longrope,
        "llama3": _llama3,
        "proportional": _proportional,
    }
)


def _as_olmo3(reading: Reading) -> Reading:
    """OLMo-3's class gives sliding layers its own default base, whatever a flat config states."""
    own = reading.model_type == "olmo3" and reading.section.layer_type == "sliding_attention"
    if not own or reading.nested:
        return reading
    return replace(reading, section=replace(reading.section, rope_theta=OLMO3_THETA))


def _head_dim_is_null(reading: Reading) -> bool:
    stated_null = "head_dim" in reading.text and reading.text["head_dim"] is None
    return stated_null and reading.model_type not in _FILL_HEAD_DIM


def _softmax_multiplier(reading: Reading) -> float:
    """m(s, mscale_all_dim)^2 where the type is not default (V2 and Mistral 4: since PR 47435)."""
    if not reading.section.latent_attention or reading.written_type == "default":
        return 1.0
    return latent_multiplier(reading)
