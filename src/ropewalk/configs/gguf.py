"""The header of a GGUF file in the keys of config.json, as llama.cpp's loader reads it.

A scaling without a type is linear, its factor stands under ``rope.scaling.factor`` or the older
``rope.scale_linear``, and a base that is not stated is 10,000. Divisors of frequencies are
tensors: ``rope_freqs`` (Llama 3) holds for every length, ``rope_factors_short`` and ``_long``
are LongRoPE's lists. A key of the rotation that is not in this table is refused.

Source: llama.cpp 0c1e57098, src/llama-model.cpp (load_hparams) and ggml's docs/gguf.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.gguf_names import model_type_of
from ropewalk.configs.keys import FULL, ORIGINAL, SLIDING
from ropewalk.configs.numbers import optional, required_size
from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra

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
_FACTORS = ("rope_freqs", "rope_factors_short", "rope_factors_long")
_OF_THE_ROTATION = frozenset(
    {*_SPELLINGS, "rope.scale_linear", "rope.dimension_sections"}
    | {_SCALING + name for name in ("type", "factor", "original_context_length")}
    | {_SCALING + name for name in ("attn_factor", "finetuned", "yarn_log_multiplier")}
)
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
    require_extra("gguf", "gguf", purpose="a .gguf file")
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        prefix = f"{architecture}."
        fields = {
            key.removeprefix(prefix): field.contents()
            for key, field in reader.fields.items()
            if key.startswith(prefix)
        }
        factors = {
            tensor.name.removesuffix(".weight"): tuple(map(float, tensor.data))
            for tensor in reader.tensors
            if tensor.name.removesuffix(".weight") in _FACTORS
        }
    except (KeyError, ValueError, IndexError, OSError) as error:
        raise RopewalkError(
            f"{path}: its header cannot be read ({type(error).__name__}: {error}); "
            "expected a GGUF file; download it again"
        ) from error
    return GGUFHeader(architecture=architecture, fields=fields, factors=factors)


def dropped_scaling(header: GGUFHeader) -> str | None:
    """The scaling that transformers 5.23 would drop, None where there is none.

    It reads ``rope.scaling.*`` for gpt-oss alone, and never tensors of factors.
    """
    stated = header.fields.get(f"{_SCALING}type", "none")
    if header.architecture == "gpt-oss" and stated != "none":
        return None
    names = [] if stated == "none" else [str(stated)]
    return next(iter([*names, *(f"{name}.weight" for name in header.factors)]), None)


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
    turning = required_size(fields, "rope.dimension_count")
    whole = required_size(fields, "attention.key_length_mla", "attention.key_length")
    return {"qk_rope_head_dim": turning, "qk_nope_head_dim": whole - turning, "rotary_dim": turning}


def _windows(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Which layers have the window: a flag for each, or one in so many without."""
    pattern = fields.get("attention.sliding_window_pattern")
    if isinstance(pattern, list):
        return {"layer_types": [SLIDING if flag else FULL for flag in pattern]}
    return {} if pattern is None else {"sliding_window_pattern": pattern}


def _rope_dict(header: GGUFHeader) -> dict[str, Any]:
    fields, factors = header.fields, header.factors
    factor = optional(fields, f"{_SCALING}factor") or optional(fields, "rope.scale_linear")
    name = fields.get(f"{_SCALING}type", "linear" if factor else "none")
    sections = fields.get("rope.dimension_sections")
    rope: dict[str, Any] = {"mrope_section": sections} if sections else {}
    stated = optional(fields, f"{_SCALING}attn_factor")
    magnitude = 1.0 if stated is None else stated
    original = {ORIGINAL: fields.get(f"{_SCALING}original_context_length")}
    if "rope_freqs" in factors and name == "none":
        rope |= _lists(factors["rope_freqs"], factors["rope_freqs"], magnitude)
    elif factors and name == "longrope":
        short, long = map(factors.get, ("rope_factors_short", "rope_factors_long"))
        rope |= {**_lists(short, long, magnitude), **original}
    elif name == "linear" and factor and not factors and magnitude == 1:
        rope |= {"rope_type": "linear", "factor": factor}
    elif name == "yarn" and factor and not factors:
        rope |= {"rope_type": "yarn", "factor": factor, **original}
        rope |= _yarn_magnitudes(fields, factor, magnitude)
    elif factors or magnitude != 1 or name not in ("none", "linear", "yarn", "longrope"):
        raise RopewalkError(
            f"rope scaling {name}, attn_factor {magnitude:g}, {', '.join(factors) or 'no factors'}:"
            " expected none, linear, yarn or longrope, with the tensors that belong to it"
        )
    return {key: value for key, value in rope.items() if value is not None}


def _lists(
    short: tuple[float, ...] | None, long: tuple[float, ...] | None, magnitude: float
) -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "short_factor": None if short is None else list(short),
        "long_factor": None if long is None else list(long),
        "attention_factor": magnitude,
    }


def _yarn_magnitudes(fields: Mapping[str, Any], factor: float, magnitude: float) -> dict[str, Any]:
    """``attn_factor`` multiplies YaRN's own; the log multiplier is a tenth of mscale_all_dim."""
    multiplier = optional(fields, f"{_SCALING}yarn_log_multiplier")
    if multiplier:
        return {"mscale": 10 * multiplier, "mscale_all_dim": 10 * multiplier}
    own = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
    return {} if magnitude == 1 else {"attention_factor": magnitude * own}
