"""The config classes of transformers: what a family assumes where its config says nothing."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ropewalk.integrations.loading import quiet


def completed_by_transformers(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A parsed config.json as the library's own class completes it.

    Empty where the library has no class of that model_type, or its class refuses the config: what
    engines raise about it is said by ``audit``.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return {}
    try:
        with quiet():
            return dict(CONFIG_MAPPING[model_type].from_dict(deepcopy(dict(config))).to_dict())
    except Exception:  # any type may come from the checks of 800 classes
        return {}
