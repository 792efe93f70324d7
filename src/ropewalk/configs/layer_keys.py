"""Keys that one layer has of its own: ``per_layer_config``, as transformers writes it.

    {"05": {"head_dim": 512}, "11": {"head_dim": 512}}

Source: transformers 5.23.0, integrations/heterogeneity.
"""

from collections.abc import Mapping
from typing import Any

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
