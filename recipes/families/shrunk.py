"""A tiny model of any family of the library, from the family's own default config.

Sizes come from one table, whatever the family; lists that have an entry for each layer are cut;
a scaling of the default rope is dropped, so that the trained length is 32 tokens everywhere.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from recipes.families.sharpened import L0, VOCABULARY, sharpen, token_ids
from ropewalk.configs.shape import read_model
from ropewalk.core.errors import RopewalkError

LAYERS, HEADS, WINDOW = 4, 4, 48
LARGEST = 15_000_000
"""Parameters of a model that still counts as tiny."""

SIZES = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "padded_vocab_size"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embedding_size", "lru_width"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "ffn_hidden_size"), 96),
    **dict.fromkeys(("intermediate_size_mlp", "dense_intermediate_size"), 96),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 48),
    **dict.fromkeys(("shared_intermediate_size", "expert_ffn_hidden_size"), 48),
    **dict.fromkeys(("shared_experts_intermediate_size", "router_hidden_size"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_attn_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "global_head_dim", "attention_head_dim", "kv_channels"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_groups"), 1),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank", "adapter_rank"), 32),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), L0),
    **dict.fromkeys(("model_max_length", "max_seq_len", "original_max_position_embeddings"), L0),
    **dict.fromkeys(("sliding_window", "attention_window_size", "attention_chunk_size"), WINDOW),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"), 16),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("mamba_d_state", "mamba_chunk_size", "chunk_size", "mamba_headdim"), 16),
    **dict.fromkeys(("index_head_dim", "hidden_size_per_layer_input"), 16),
    **{"qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12, "rotary_dim": 8},
    **{"local_attention": WINDOW, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    **{"query_pre_attn_scalar": 16, "zero_expert_num": 2, "index_topk": 4096},
    **{"cls_token_id": 1, "sep_token_id": 2, "index_n_heads": 4},
}
_PLAIN = {"rope_type": "default", "rope_theta": 1e4}
_FULL_AND_SLIDING = ["sliding_attention", "full_attention"] * 2
FITTED: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"num_expert_group": 1, "linear_num_heads": 4, "num_experts_per_token": 2},
    "cohere_compass_text": {
        "layer_types": _FULL_AND_SLIDING,
        "rope_parameters": dict.fromkeys(_FULL_AND_SLIDING, _PLAIN),
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "kimi_linear": {"linear_num_heads": 4, "num_experts_per_token": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"head_dim": 8},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma4_text": {"num_kv_shared_layers": 0},
    "ministral3": {
        "rope_parameters": {
            **_PLAIN,
            "llama_4_scaling_beta": 0.3,
            "original_max_position_embeddings": L0,
        }
    },
    "zamba2": {"use_mem_rope": True},
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "position_embedding_type": "rope",
    },
    "dots3_note_text": {"head_dim": 24, "per_layer_config": {}, "num_key_value_heads": 4},
    "zaya": {"num_experts_per_tok": 1},
}
"""What the table knows wrongly for a family."""
SCALINGS = {"linear", "dynamic", "yarn", "longrope", "llama3"}


def shrunk(family: str, **changes: Any) -> nn.Module:
    """A sharpened float64 model of ``family``, in eval mode.

    changes  of config fields that the table knows wrongly for this family

    Raises ValueError for a model that stays large, and whatever the family's code raises.
    """
    config = small_config(family, **changes)
    causal = family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    loader = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in loader.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} parameters: more than {LARGEST:,}")
    torch.manual_seed(0)
    try:
        # The grouped product of experts has no float64 kernel.
        model = loader.from_config(config, experts_implementation="eager")
    except (TypeError, ValueError):
        model = loader.from_config(config)
    model = sharpen(model.eval()).double()
    with torch.no_grad():
        model(token_ids(1, 8), use_cache=False)
    return model


def refusal(family: str) -> str | None:
    """Why its default config can be no rotary encoding, where that can be told from it."""
    try:
        read_model(CONFIG_MAPPING[family]().to_dict()).rope()
    except RopewalkError as error:
        return str(error)
    return None


def small_config(family: str, **changes: Any) -> PreTrainedConfig:
    """The family's default config, with the sizes of the table."""
    settings = _settings(CONFIG_MAPPING[family]().to_dict())
    return CONFIG_MAPPING[family](**{**settings, **FITTED.get(family, {}), **changes})


def _settings(default: Mapping[str, Any]) -> dict[str, Any]:
    """Of a config and the configs in it: a multimodal model's text model is one of those."""
    stated = [name for name in SIZES if default.get(name) is not None]
    unset = [name for name in ("head_dim", "num_key_value_heads") if name in default]
    sizes = {name: SIZES[name] for name in (*stated, *unset)}
    if default.get("qk_rope_head_dim") is not None:
        sizes.pop("head_dim", None)
        sizes["num_key_value_heads"] = HEADS
    inner = {
        name: _settings(value)
        for name, value in default.items()
        if name.endswith("_config") and isinstance(value, Mapping)
    }
    return {**sizes, **_rope(default), **_layer_lists(default), **inner}


def _rope(default: Mapping[str, Any]) -> dict[str, Any]:
    rope = default.get("rope_parameters")
    if not rope:
        return {}
    if any(isinstance(value, Mapping) for value in rope.values()):
        plain: dict[str, Any] = {name: each and _unscaled(each) for name, each in rope.items()}
    else:
        plain = _unscaled(rope)
    return {"rope_parameters": plain}


def _unscaled(rope: Mapping[str, Any]) -> dict[str, Any]:
    if rope.get("rope_type") not in SCALINGS:
        return dict(rope)
    kept = ("rope_theta", "partial_rotary_factor")
    return {"rope_type": "default", **{name: rope[name] for name in kept if name in rope}}


def _layer_lists(default: Mapping[str, Any]) -> dict[str, Any]:
    """Lists with an entry for each layer, with every kind of entry among the first few."""
    layers = next((default[n] for n in ("num_hidden_layers", "n_layer") if n in default), None)
    lists = {
        name: value
        for name, value in default.items()
        if isinstance(value, list) and len(value) == layers
    }
    return {name: _cut(value) for name, value in lists.items()}


def _cut(values: list[Any]) -> list[Any]:
    kinds = list(dict.fromkeys(map(repr, values)))
    first = {kind: next(value for value in values if repr(value) == kind) for kind in kinds}
    return [first[kinds[layer % len(kinds)]] for layer in range(LAYERS)]
