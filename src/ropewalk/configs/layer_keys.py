"""Keys that one layer has of its own: ``per_layer_config``, as transformers writes it.

    {"05": {"head_dim": 512}, "11": {"head_dim": 512}}

Source: transformers 5.23.0, integrations/heterogeneity; nvidia/Llama-3_1-Nemotron-51B-Instruct,
    block_config.py, for ``block_configs``.
"""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.keys import BLOCKS

_PER_LAYER = "per_layer_config"


def layers_differ(text: Mapping[str, Any]) -> bool:
    """Whether a config states keys of single layers."""
    return isinstance(text.get(_PER_LAYER), Mapping)


def keys_of_layer(text: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """The text model's keys as the layer at ``index`` has them."""
    stated = text.get(_PER_LAYER)
    for name, keys in stated.items() if isinstance(stated, Mapping) else ():
        if isinstance(keys, Mapping) and str(name).isdecimal() and int(name) == index:
            return {**text, **keys}
    return text


def keys_of_type(text: Mapping[str, Any], layer_type: str | None) -> Mapping[str, Any]:
    """The same for the layers of one type, by the first of them."""
    types = text.get("layer_types")
    if not isinstance(types, list | tuple) or layer_type not in types:
        return text
    return keys_of_layer(text, types.index(layer_type))


def block_attention(text: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """What ``block_configs`` says of the attention of one layer; empty where it says nothing."""
    blocks = text.get(BLOCKS)
    block = blocks[index] if isinstance(blocks, list | tuple) and index < len(blocks) else None
    attention = block.get("attention") if isinstance(block, Mapping) else None
    return attention if isinstance(attention, Mapping) else {}
