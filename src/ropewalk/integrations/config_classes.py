"""The config classes of transformers: what a family assumes where its config says nothing."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ropewalk.integrations.quiet import quiet

_NAMES = ("head_dim", "hidden_size", "num_attention_heads", "num_hidden_layers")
"""Attributes that classes may compute, or keep under a name of their own."""


def completed_by_transformers(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text model's keys of a parsed config.json as the library's own class completes them.

    Empty where the library has no class of that model_type, or its class refuses the config: what
    engines raise about it is said by ``audit``.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return {}
    try:
        with quiet():
            whole = CONFIG_MAPPING[model_type].from_dict(deepcopy(dict(config)))
            text = whole.get_text_config(decoder=True)
            named = {name: getattr(text, name, None) for name in _NAMES}
            return {**named, **text.to_dict()}
    except Exception:  # any type may come from the checks of 800 classes
        return {}
