"""Families whose code no library ships: their keys in the words of the others."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.keys import TRAINED
from ropewalk.configs.numbers import optional

POWERS, LOG_N = "powers_ntk", "log_n"
"""A rope type, and a key beside it, that no config states: Qwen 1's own."""


def remote_defaults(text: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the code of a family makes of its own keys; empty for a family without an entry.

    Raises RopewalkError for keys that are no numbers.
    """
    family = text.get("model_type")
    read = _FAMILIES.get(family) if isinstance(family, str) else None
    return {} if read is None else read(text)


def _chatglm(text: Mapping[str, Any]) -> Mapping[str, Any]:
    """ChatGLM 2 and 3: half of each head turns, in neighbouring pairs; a ratio scales the base.

    Source: THUDM/chatglm3-6b, modeling_chatglm.py (RotaryEmbedding, apply_rotary_pos_emb);
        vLLM 0.33.0 models/chatglm.py.
    """
    ratio = optional(text, "rope_ratio")
    grouped = text.get("multi_query_attention") is True
    return {
        "rope_theta": 10_000.0 * (1.0 if ratio is None else ratio),
        "partial_rotary_factor": 0.5,
        "rope_interleave": True,
        "head_dim": text.get("kv_channels"),
        "max_position_embeddings": text.get("seq_length"),
        "num_key_value_heads": text.get("multi_query_group_num") if grouped else None,
    }


def _qwen(text: Mapping[str, Any]) -> Mapping[str, Any]:
    """Qwen 1: trained at seq_length; beyond it a base that grows by powers of two, and log-n.

    Source: Qwen/Qwen-14B, modeling_qwen.py and config.json (use_dynamic_ntk, use_logn_attn).
    """
    rope_type = POWERS if text.get("use_dynamic_ntk") is True else "default"
    return {
        "rope_parameters": {"rope_type": rope_type, LOG_N: text.get("use_logn_attn") is True},
        "head_dim": text.get("kv_channels"),
        TRAINED: text.get("seq_length"),
    }


_FAMILIES: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = MappingProxyType(
    {"chatglm": _chatglm, "qwen": _qwen}
)
