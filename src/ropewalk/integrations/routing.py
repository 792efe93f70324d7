"""Lead a model's attention through plans, and back, without touching anything global.

The attention implementation is named in the config, so the model gets a copy of its config:
another model that shares the object keeps its own.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface

from ropewalk.integrations.call import call_mask
from ropewalk.integrations.plan import PLAN, POSITIONS, RotateAtRead, planned_attention
from ropewalk.integrations.rotary import PositionsOfCall

IMPLEMENTATION = "ropewalk"
"""Our entry in the library's tables; what it does is decided by each module's plan."""


class Route:
    """A model whose attention modules follow plans, until ``undo``."""

    def __init__(
        self, model: nn.Module, plans: Mapping[str, Any], positions: PositionsOfCall
    ) -> None:
        """``plans``: module name -> LayerPlan."""
        AttentionInterface.register(IMPLEMENTATION, planned_attention)
        AttentionMaskInterface.register(IMPLEMENTATION, call_mask)
        modules = dict(model.named_modules())
        self._planned = [modules[name] for name in plans]
        self._configs = [
            (m, m.__dict__["config"]) for m in modules.values() if "config" in m.__dict__
        ]
        copies: dict[int, Any] = {}
        routed_config = copy.deepcopy(model.config, copies)
        routed_config._attn_implementation = IMPLEMENTATION
        for module, config in self._configs:
            module.config = copies.get(id(config), config)
        self._hooks = [
            modules[name].register_forward_pre_hook(plan.kept.see_call, with_kwargs=True)
            for name, plan in plans.items()
            if isinstance(plan, RotateAtRead)
        ]
        for name, plan in plans.items():
            setattr(modules[name], PLAN, plan)
            setattr(modules[name], POSITIONS, positions)

    def undo(self) -> None:
        for module, config in self._configs:
            module.config = config
        for hook in self._hooks:
            hook.remove()
        for module in self._planned:
            delattr(module, PLAN)
            delattr(module, POSITIONS)


@contextmanager
def routed(model: nn.Module, plans: Mapping[str, Any]) -> Iterator[None]:
    """A route for the length of a block."""
    route = Route(model, plans, PositionsOfCall())
    try:
        yield
    finally:
        route.undo()
