"""The header of a GGUF file in the keys of config.json, as llama.cpp's loader reads it.

A scaling without a type is linear, its factor stands under ``rope.scaling.factor`` or the older
``rope.scale_linear``, and a base that is not stated is 10,000. Divisors of frequencies are
tensors: ``rope_freqs`` (Llama 3) holds for every length, ``rope_factors_short`` and ``_long``
are LongRoPE's lists. ``attn_factor`` multiplies under every type. Keys that the architecture's
loader does not read change nothing; one that is not in this table is refused.

Source: llama.cpp 0c1e57098, src/llama-model.cpp (load_hparams) and ggml's docs/gguf.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.gguf_graphs import READS_BETAS, READS_EXT_FACTOR
from ropewalk.configs.gguf_layout import read_floats, read_layout
from ropewalk.configs.gguf_names import model_type_of
from ropewalk.configs.keys import FULL, ORIGINAL, SLIDING
from ropewalk.configs.numbers import optional, required_size
from ropewalk.core.errors import RopewalkError

_SPELLINGS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "v_head_dim",
    "attention.sliding_window": "sliding_window",
    "attention.chunk_size": "attention_chunk_size",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.scale": "attention_multiplier",
    "rope.dimension_count": "rotary_dim",
    "rope.freq_base": "rope_theta",
    "rope.freq_base_swa": "rope_local_base_freq",
}
_SCALING = "rope.scaling."
FACTORS = ("rope_freqs", "rope_factors_short", "rope_factors_long")
"""Tensors that divide frequencies."""
_OF_THE_ROTATION = frozenset(
    {*_SPELLINGS, "rope.scale_linear", "rope.dimension_sections", "rope.dimension_count_swa"}
    | {_SCALING + name for name in ("type", "factor", "original_context_length", "attn_factor")}
    | {_SCALING + name for name in ("finetuned", "yarn_log_multiplier", "yarn_ext_factor")}
    | {_SCALING + name for name in ("yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")}
)
_FACTOR_KEYS = (f"{_SCALING}factor", "rope.scale_linear")
_ATTN_FACTOR = f"{_SCALING}attn_factor"
_DEFAULT_THETA = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GGUFHeader:
    """What a GGUF file says of its model.

    fields   the keys of its architecture, without the architecture's name before them
    factors  the tensors that divide frequencies, by name
    """

    architecture: str
    fields: Mapping[str, Any]
    factors: Mapping[str, tuple[float, ...]]


def read_header(path: Path) -> GGUFHeader:
    """The header of a file. Raises RopewalkError where it cannot be read."""
    layout = read_layout(path)
    values = layout.values
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str):
        raise RopewalkError(f"{path}: no general.architecture; expected a GGUF file of a model")
    prefix = f"{architecture}."
    return GGUFHeader(
        architecture=architecture,
        fields={
            key.removeprefix(prefix): value
            for key, value in values.items()
            if key.startswith(prefix) and value is not None
        },
        factors={
            tensor.name.removesuffix(".weight"): read_floats(path, layout, tensor)
            for tensor in layout.tensors
            if tensor.name.removesuffix(".weight") in FACTORS
        },
    )


def dropped_scaling(header: GGUFHeader) -> str | None:
    """The scaling that transformers 5.23 would drop, None where there is none.

    It reads ``rope.scaling.*`` for gpt-oss alone, and never tensors of factors.
    """
    fields = header.fields
    stated = fields.get(f"{_SCALING}type", "none")
    if header.architecture == "gpt-oss" and stated != "none":
        return None
    named = [] if stated == "none" else [str(stated)]
    unnamed = [
        f"{key} {fields[key]:g}"
        for key in (*(_FACTOR_KEYS if f"{_SCALING}type" not in fields else ()), _ATTN_FACTOR)
        if optional(fields, key) not in (None, 0.0, 1.0)
    ]
    return next(iter([*named, *(f"{name}.weight" for name in header.factors), *unnamed]), None)


def config_of(header: GGUFHeader) -> dict[str, Any]:
    """The same in the keys of config.json, for ``read_model``.

    Raises RopewalkError for keys of the rotation that llama.cpp may read and this does not.
    """
    fields = header.fields
    strange = sorted(
        key for key in fields if key.startswith("rope.") and key not in _OF_THE_ROTATION
    )
    if strange:
        raise RopewalkError(
            f"{header.architecture}.{strange[0]}: not understood; expected the keys that "
            "llama.cpp reads for every architecture; ask llama.cpp itself"
        )
    model_type = model_type_of(header.architecture)
    config = {name: fields[key] for key, name in _SPELLINGS.items() if key in fields}
    if model_type is not None and model_type in families.LOCAL_THETA:
        config.setdefault("rope_local_base_freq", families.LOCAL_THETA[model_type])
    if model_type is not None or "rope.dimension_count" in fields:
        config.setdefault("rope_theta", _DEFAULT_THETA)
    heads = config.get("num_attention_heads")
    if isinstance(heads, list):
        config["num_attention_heads"] = max(heads, default=None)
    rope = _rope_dict(header)
    return {
        "model_type": model_type or header.architecture,
        **config,
        **_latent(fields),
        **_windows(fields),
        **({"rope_scaling": rope} if rope else {}),
    }


def _latent(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Latent attention: the rotary part has ``rope.dimension_count`` channels."""
    if not fields.get("attention.kv_lora_rank"):
        return {}
    rotating = required_size(fields, "rope.dimension_count")
    whole = required_size(fields, "attention.key_length_mla", "attention.key_length")
    return {
        "qk_rope_head_dim": rotating,
        "qk_nope_head_dim": whole - rotating,
        "rotary_dim": rotating,
    }


def _windows(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Which layers have the window: a flag for each, or one in so many without."""
    pattern = fields.get("attention.sliding_window_pattern")
    if isinstance(pattern, list):
        return {"layer_types": [SLIDING if flag else FULL for flag in pattern]}
    return {} if pattern is None else {"sliding_window_pattern": pattern}


def _rope_dict(header: GGUFHeader) -> dict[str, Any]:
    fields = header.fields
    factor = next((found for key in _FACTOR_KEYS if (found := optional(fields, key))), None)
    name = fields.get(f"{_SCALING}type", "linear" if factor else "none")
    if name not in ("none", "linear", "yarn", "longrope"):
        raise RopewalkError(
            f"rope scaling {name!s:.40}: expected none, linear, yarn or longrope; convert again"
        )
    if header.architecture in READS_EXT_FACTOR and f"{_SCALING}yarn_ext_factor" in fields:
        raise RopewalkError("yarn_ext_factor: read by grok alone, and not modelled; ask llama.cpp")
    sections = fields.get("rope.dimension_sections")
    rope: dict[str, Any] = {"mrope_section": sections} if sections else {}
    original = {ORIGINAL: fields.get(f"{_SCALING}original_context_length")}
    stated = optional(fields, _ATTN_FACTOR)
    magnitude = 1.0 if stated is None else stated
    if name == "yarn" and factor:
        if header.factors:
            raise RopewalkError(
                f"rope scaling yarn beside {next(iter(header.factors))}: expected one of the two"
            )
        rope |= {"rope_type": "yarn", "factor": factor, **original, **_betas(header)}
        rope |= _yarn_magnitudes(fields, factor, magnitude)
    else:
        scale = 1.0 if name == "none" or factor is None else factor
        rope |= _divided(header, scale, magnitude, original)
    return {key: value for key, value in rope.items() if value is not None}


def _divided(
    header: GGUFHeader, scale: float, magnitude: float, original: Mapping[str, Any]
) -> dict[str, Any]:
    """One factor for all pairs, and the tensors of divisors and a magnitude where there are any."""
    factors = header.factors
    short, long = (factors.get(f"rope_factors_{name}") for name in ("short", "long"))
    freqs = factors.get("rope_freqs")
    if freqs is None and short is None and long is None and magnitude == 1:
        return {} if scale == 1 else {"rope_type": "linear", "factor": scale}
    whole = short or long or freqs or (1.0,) * _pairs(header.fields)
    plain = freqs or (1.0,) * len(whole)
    lists = {"short_factor": short or plain, "long_factor": long or plain}
    divided = {key: [scale * each for each in values] for key, values in lists.items()}
    return {"rope_type": "longrope", **divided, "attention_factor": magnitude, **original}


def _pairs(fields: Mapping[str, Any]) -> int:
    """Pairs that turn."""
    heads = fields.get("attention.head_count")
    count = {"heads": max(heads, default=0) if isinstance(heads, list) else heads}
    if fields.get("rope.dimension_count") or fields.get("attention.key_length"):
        return required_size(fields, "rope.dimension_count", "attention.key_length") // 2
    return required_size(fields, "embedding_length") // required_size(count, "heads") // 2


def _betas(header: GGUFHeader) -> dict[str, Any]:
    """Cut-offs, of the architectures that read them."""
    if header.architecture not in READS_BETAS:
        return {}
    names = ("beta_fast", "beta_slow")
    return {name: optional(header.fields, f"{_SCALING}yarn_{name}") for name in names}


def _yarn_magnitudes(fields: Mapping[str, Any], factor: float, magnitude: float) -> dict[str, Any]:
    """``attn_factor`` multiplies YaRN's own; the log multiplier is a tenth of mscale_all_dim."""
    multiplier = optional(fields, f"{_SCALING}yarn_log_multiplier")
    if multiplier:
        return {"mscale": 10 * multiplier, "mscale_all_dim": 10 * multiplier}
    own = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
    return {} if magnitude == 1 else {"attention_factor": magnitude * own}
