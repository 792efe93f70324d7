"""Headers of the other families.

Source: Ollama 0.32.15, convert/convert_*.go.
"""

import math

from ropewalk.configs.gguf import GGUFHeader
from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.ollama.go_json import Json
from ropewalk.engines.ollama.header import header, sizes
from ropewalk.engines.reading import EngineRaises

_IMPROPER = "improper type for 'rope.scaling.factor'"


def phi3(json: Json) -> GGUFHeader:
    """Both lists and a magnitude, and no type."""
    rope, heads = json.inner("rope_scaling"), json.number("num_attention_heads", "n_head")
    original, longest = json.number(ORIGINAL), json.number("max_position_embeddings")
    if not heads:
        raise EngineRaises("runtime error: integer divide by zero")
    fields = sizes(json) | {
        "rope.dimension_count": int(json.number("hidden_size") // heads),
        "rope.freq_base": json.number("rope_theta"),
        "rope.scaling.original_context_length": int(original),
    }
    kind = rope.text("type")
    if kind not in ("", "su", "longrope", "yarn"):
        raise EngineRaises("panic: unknown rope scaling type")
    lists = {f"rope_factors_{n}": rope.numbers(f"{n}_factor") for n in ("short", "long")}
    if kind and original > 1 and longest:
        logarithm = math.log(longest / original)
        plain = 0.1 * logarithm + 1
        scale = plain if kind == "yarn" else math.sqrt(max(1 + logarithm / math.log(original), 0))
        fields["rope.scaling.attn_factor"] = max(scale, 1.0)
    return header("phi3", fields, {name: each for name, each in lists.items() if each})


def qwen2(json: Json, architecture: str = "qwen2") -> GGUFHeader:
    """``factor`` is a list, which no number fits and no writer takes: YaRN ends the conversion."""
    rope = json.inner("rope_scaling")
    rope.numbers("factor")
    kind = rope.text("type")
    if kind not in ("", "yarn", "mrope", "default"):
        raise EngineRaises("panic: unknown rope scaling type")
    if kind == "yarn":
        raise EngineRaises(_IMPROPER)
    fields = {**sizes(json, "-"), "rope.freq_base": json.number("rope_theta")}
    return header(architecture, fields)


def qwen3_vl(json: Json) -> GGUFHeader:
    text = json.inner("text_config")
    found = qwen2(text, "qwen3vlmoe" if text.number("num_experts") else "qwen3vl")
    width = int(text.number("head_dim"))
    return header(found.architecture, {**found.fields, "attention.key_length": width})


def qwen3_next(json: Json) -> GGUFHeader:
    """Of Qwen3-Next and Qwen 3.5."""
    text = json.inner("text_config") if "text_config" in json.keys else json
    rope = text.inner("rope_parameters")
    scaling = text.inner("rope_scaling")
    scaling.numbers("factor")
    if (scaling.text("type") or rope.text("rope_type")) not in ("", "default"):
        raise EngineRaises(_IMPROPER)
    base = text.number("rope_theta") or rope.number("rope_theta")
    share = text.number("partial_rotary_factor") or rope.number("partial_rotary_factor")
    width = int(text.number("head_dim"))
    for name, value in (("head_dim", width), ("rope_theta", base)):
        if not value:
            raise EngineRaises(f"qwen3next: {name} must be set")
    if not 0 < share <= 1:
        raise EngineRaises(f"qwen3next: partial_rotary_factor must be in (0,1], got {share:g}")
    moe = "moe" if text.number("num_experts") else ""
    turning = {"rope.freq_base": base, "rope.dimension_count": int(width * share)}
    return header(f"qwen35{moe}", {**sizes(text), **turning})


def olmo3(json: Json) -> GGUFHeader:
    """``attention_factor`` is stored as attn_factor, which multiplies YaRN's own magnitude."""
    rope = json.inner("rope_scaling")
    stated = {
        "rope.freq_base": json.number("rope_theta"),
        "rope.scaling.factor": rope.number("factor"),
        "rope.scaling.original_context_length": int(rope.number(ORIGINAL)),
        "rope.scaling.attn_factor": rope.number("attention_factor"),
        "rope.scaling.type": rope.text("rope_type"),
    }
    return header("olmo2", sizes(json) | {key: value for key, value in stated.items() if value})


def nomic(json: Json) -> GGUFHeader:
    base = json.number("rope_theta")
    return header("nomic-bert", sizes(json) | ({"rope.freq_base": base} if base else {}))


def command_r(json: Json) -> GGUFHeader:
    fields = sizes(json) | {
        "context_length": int(json.number("model_max_length", "max_position_embeddings", "n_ctx")),
        "rope.freq_base": json.number("rope_theta"),
        "rope.scaling.type": "none",
    }
    return header("command-r", fields)


def gpt_oss(json: Json) -> GGUFHeader:
    rope = json.inner("rope_scaling")
    stated, first = json.number("rope_scaling_factor"), json.number("initial_context_length")
    longest = json.number("max_position_embeddings") or stated * first
    fields = sizes(json) | {
        "context_length": int(longest),
        "rope.freq_base": json.number("rope_theta"),
        "rope.scaling.type": rope.text("rope_type") or "yarn",
        "rope.scaling.factor": stated or rope.number("factor"),
        "rope.scaling.original_context_length": int(rope.number(ORIGINAL) or first),
    }
    return header("gpt-oss", fields)


def deepseek_v3(json: Json) -> GGUFHeader:
    """The type stands under ``type`` alone, and is written even where it is empty."""
    rope, turning = json.inner("rope_scaling"), int(json.number("qk_rope_head_dim"))
    fields = sizes(json, "-") | {
        "attention.key_length": int(json.number("qk_nope_head_dim")) + turning,
        "rope.dimension_count": turning,
        "rope.freq_base": json.number("rope_theta") or 1e4,
        "rope.scaling.factor": rope.number("factor"),
        "rope.scaling.original_context_length": int(rope.number(ORIGINAL)),
        "rope.scaling.type": rope.text("type"),
        "rope.scaling.yarn_log_multiplier": 0.1 * rope.number("mscale_all_dim"),
    }
    return header("deepseek2", fields)


def glm4_moe_lite(json: Json) -> GGUFHeader:
    turning = int(json.number("qk_rope_head_dim"))
    fields = sizes(json, "-") | {
        "attention.key_length": int(json.number("qk_nope_head_dim")) + turning,
        "rope.dimension_count": turning,
        "rope.freq_base": json.number("rope_theta") or 1e6,
    }
    return header("deepseek2", fields)


def lfm2(json: Json) -> GGUFHeader:
    base = json.number("rope_theta") or json.inner("rope_parameters").number("rope_theta")
    return header("lfm2", sizes(json) | ({"rope.freq_base": base} if base else {}))
