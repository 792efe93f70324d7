"""A config of the model's own, for the time of an extension.

The library keeps the attention implementation in the config object, and others read lengths from
it; models may share that object.
"""

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

_ATTENTION = "_attn_implementation_internal"
"""Where a config keeps the name of its attention implementation."""


class OwnConfig:
    """Copies of a model's configs, until ``undo``."""

    def __init__(self, model: nn.Module, change: Callable[[Any], None]) -> None:
        """``change``: what is done to the copy of the whole model's config."""
        self._configs = [
            (module, module.__dict__["config"])
            for module in model.modules()
            if "config" in module.__dict__
        ]
        copies: dict[int, Any] = {}
        own: Any = copy.deepcopy(model.config, copies)
        change(own)
        for module, config in self._configs:
            module.config = copies.get(id(config), config)
        # As they were, to tell what the user changes meanwhile.
        self._before = copy.deepcopy([vars(module.config) for module, _ in self._configs])

    def undo(self) -> None:
        """The model's own configs again, with what the user changed meanwhile."""
        for (module, config), before in zip(self._configs, self._before, strict=True):
            now = vars(module.config)
            changed = {k: v for k, v in now.items() if k not in before or v != before[k]}
            changed.pop(_ATTENTION, None)
            if module.config is not config:
                vars(config).update({k: v for k, v in changed.items() if not _is_config(v)})
            module.config = config


def _is_config(value: Any) -> bool:
    """Sub-configs are restored by the modules that own them."""
    return hasattr(value, "to_dict")
