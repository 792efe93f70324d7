"""Families whose code no library ships: their keys in the words of the others."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.numbers import optional


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


_FAMILIES: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = MappingProxyType(
    {"chatglm": _chatglm}
)
