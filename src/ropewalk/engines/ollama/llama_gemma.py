"""Headers of Llama, Mistral and Gemma.

Source: Ollama 0.32.15, convert/convert_llama.go, convert_llama4.go, convert_mistral.go,
    convert_mistral_causal.go, convert_gemma.go to convert_gemma4.go; llama/compat for what its
    llama.cpp puts into files of Gemma 3.
"""

import math
from collections.abc import Callable

from ropewalk.configs.gguf import GGUFHeader
from ropewalk.configs.keys import FULL, ORIGINAL, SLIDING
from ropewalk.engines.ollama.go_json import EMPTY, Json
from ropewalk.engines.ollama.header import Fields, header, sizes
from ropewalk.engines.reading import EngineRaises

_NONE_ROTATES = math.inf
"""1e30 is written: no float32 angle is left of it."""
_GEMMA3_LINEAR = 131_072


def llama(json: Json, architecture: str = "llama") -> GGUFHeader:
    """``type`` linear alone is a scaling; ``rope_type`` llama3 becomes rope_freqs, over
    hidden_size / num_attention_heads channels."""
    heads = int(json.number("num_attention_heads", "n_head"))
    rope, base = json.inner("rope_scaling"), json.number("rope_theta")
    fields = sizes(json)
    fields["context_length"] = int(json.number("max_position_embeddings", "n_ctx"))
    if heads:
        fields["rope.dimension_count"] = int(json.number("hidden_size")) // heads
    if base > 0:
        fields["rope.freq_base"] = base
    if rope.text("type") == "linear":
        fields |= {"rope.scaling.type": "linear", "rope.scaling.factor": rope.number("factor")}
    if rope.text("rope_type") != "llama3" or not heads or not base:
        return header(architecture, fields)
    divisors = _llama3(rope, base, fields["rope.dimension_count"])
    return header(architecture, fields, {"rope_freqs": divisors})


def _llama3(rope: Json, base: float, width: int) -> tuple[float, ...]:
    factor, low = rope.number("factor") or 8.0, rope.number("low_freq_factor") or 1.0
    high, original = rope.number("high_freq_factor") or 4.0, rope.number(ORIGINAL) or 8192.0

    def divisor(wavelength: float) -> float:
        if wavelength < original / high:
            return 1.0
        if wavelength > original / low:
            return factor
        if high == low:
            return math.nan
        smooth = (original / wavelength - low) / (high - low)
        return 1 / ((1 - smooth) / factor + smooth)

    return tuple(divisor(2 * math.pi * base ** (i / width)) for i in range(0, width, 2))


def llama4(json: Json) -> GGUFHeader:
    return llama(json.inner("text_config"), "llama4")


def mistral3(json: Json) -> GGUFHeader:
    """``rope_parameters`` alone, its type as it stands."""
    rope, heads = json.inner("rope_parameters"), int(json.number("num_attention_heads"))
    if not heads:
        raise EngineRaises("runtime error: integer divide by zero")
    fields = sizes(json)
    width = int(json.number("head_dim")) or int(json.number("hidden_size")) // heads
    fields |= {
        "attention.key_length": width,
        "rope.dimension_count": width,
        "rope.freq_base": json.number("rope_theta") or rope.number("rope_theta"),
        "rope.scaling.factor": rope.number("factor"),
        "rope.scaling.type": rope.text("rope_type"),
        "rope.scaling.yarn_beta_fast": rope.number("beta_fast"),
        "rope.scaling.yarn_beta_slow": rope.number("beta_slow"),
    }
    if "mscale_all_dim" in rope.keys:
        fields["rope.scaling.yarn_log_multiplier"] = rope.number("mscale_all_dim")
    if original := rope.number(ORIGINAL):
        fields["rope.scaling.original_context_length"] = int(original)
    return header("mistral3", fields)


def plain(architecture: str) -> Callable[[Json], GGUFHeader]:
    """No key of the rotation: llama.cpp's own base."""
    return lambda json: header(architecture, sizes(json))


def gemma3(json: Json) -> GGUFHeader:
    """yarn alone is a scaling."""
    fields = sizes(json) | {
        "rope.freq_base": json.number("rope_theta") or 1e6,
        "rope.freq_base_swa": json.number("rope_local_base_freq") or 1e4,
    }
    rope = json.inner("rope_scaling")
    if rope.text("rope_type") == "yarn" and rope.number("factor") > 0:
        fields |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": rope.number("factor"),
            "rope.scaling.original_context_length": int(rope.number(ORIGINAL)),
        }
    return header("gemma3", _loaded(fields))


def gemma3_of_images(json: Json) -> GGUFHeader:
    """The rope keys of the text section are not read: base and scaling are the loader's."""
    text = json.inner("text_config")
    fields = sizes(text) | {
        "attention.key_length": int(text.number("head_dim")) or 256,
        "context_length": int(json.number("max_position_embeddings")) or 131_072,
        "rope.freq_base": 1e6,
        "rope.freq_base_swa": 1e4,
    }
    return header("gemma3", _loaded(fields))


def _loaded(fields: Fields) -> Fields:
    """A context of 131,072 tokens or more is taken for linear by 8 (llama/compat)."""
    if fields["context_length"] < _GEMMA3_LINEAR:
        return fields
    return {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0, **fields}


def gemma3n(json: Json) -> GGUFHeader:
    text = json.inner("text_config")
    fields = {**sizes(text), "rope.freq_base": text.number("rope_theta")}
    return header("gemma3n", fields)


def gemma4(json: Json) -> GGUFHeader:
    """A share of the pairs of global heads turns, a quarter unless it is stated."""
    text = json.inner("text_config")
    ropes, wide = text.inner("rope_parameters"), int(text.number("global_head_dim"))
    fields = {**sizes(text, "global_head_dim"), "attention.key_length": wide}
    full, sliding = ropes.inner(FULL), ropes.inner(SLIDING)
    if FULL in ropes.keys:
        fields |= {"rope.freq_base": full.number("rope_theta"), "rope.dimension_count": wide}
    if SLIDING in ropes.keys:
        fields["rope.freq_base_swa"] = sliding.number("rope_theta")
        fields["rope.dimension_count_swa"] = int(text.number("head_dim"))
    share = full.keys.get("partial_rotary_factor")
    turning = int(wide * (0.25 if share is None else full.number("partial_rotary_factor")) / 2)
    pairs = tuple(1.0 if j < turning else _NONE_ROTATES for j in range(wide // 2))
    return header("gemma4", fields, {"rope_freqs": pairs} if pairs else EMPTY)
