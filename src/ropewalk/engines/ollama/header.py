"""A header that a converter writes."""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.gguf import GGUFHeader
from ropewalk.engines.ollama.go_json import EMPTY, Json

Fields = dict[str, Any]


def header(
    architecture: str, fields: Fields, factors: Mapping[str, tuple[float, ...]] = EMPTY
) -> GGUFHeader:
    return GGUFHeader(architecture=architecture, fields=fields, factors=factors)


def sizes(json: Json, width: str = "head_dim") -> Fields:
    """What says how wide a head is, and the longest context."""
    fields = {
        "context_length": int(json.number("max_position_embeddings")),
        "embedding_length": int(json.number("hidden_size", "n_embd")),
        "attention.head_count": int(json.number("num_attention_heads", "n_head")),
    }
    stated = int(json.number(width))
    return {**fields, "attention.key_length": stated} if stated else fields
