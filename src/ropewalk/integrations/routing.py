"""Route a model's attention through plans, and back, without touching anything global.

The attention implementation is named in the config, so the model gets a copy of its config:
another model that shares the object keeps its own.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.call import CallMask, call_mask
from ropewalk.integrations.entrance import Entrance, Given
from ropewalk.integrations.key_record import CacheAtEntry
from ropewalk.integrations.plan import PLAN, planned_attention
from ropewalk.integrations.rotary import IMPLEMENTATION

AttentionInterface.register(IMPLEMENTATION, planned_attention)
AttentionMaskInterface.register(IMPLEMENTATION, call_mask)

_OWN = "_attn_implementation_internal"
"""Where a config keeps the name of its attention implementation."""


class AttentionEntrance(Entrance):
    """Under our attention function: the cache answers for its keys, and a mask that was made
    before the pass learns of it."""

    def admit(
        self, given: Given, position_ids: Tensor | None, cache: CacheAtEntry
    ) -> tuple[Tensor | None, dict[str, Any]]:
        _refuse_weights(given)
        cache.admit_unrotated()
        mask = given.named.get("attention_mask")
        changed: dict[str, Any] = {}

        def enter(made: Any) -> Any:
            known = isinstance(made, CallMask)
            return made.entered(position_ids, cache) if known else made

        if isinstance(mask, CallMask):
            changed = {"attention_mask": enter(mask)}
        elif isinstance(mask, dict):
            changed = {"attention_mask": {kind: enter(each) for kind, each in mask.items()}}
        # What a rotary module shows where keys are rotated at their birth.
        shown = given.own_positions(cache.tokens) if position_ids is None else None
        return shown, changed


def _refuse_weights(given: Given) -> None:
    """Raise RopewalkError where attention weights are asked for, or heads are to be masked."""
    config = getattr(given.decoder, "config", None)
    asked = given.named.get("output_attentions")
    asked = getattr(config, "output_attentions", False) if asked is None else asked
    for name, wanted in (("output_attentions", asked), ("head_mask", given.named.get("head_mask"))):
        if wanted is not None and wanted is not False:
            raise RopewalkError(
                f"{name} under a method that computes attention itself: it makes no matrix of "
                f"weights; drop {name}, or take a method of one base, such as yarn"
            )


class Route:
    """A model whose attention modules follow plans, until ``undo``."""

    def __init__(self, model: nn.Module, plans: Mapping[str, Any]) -> None:
        """``plans``: module name -> LayerPlan."""
        modules = dict(model.named_modules())
        self._planned = [modules[name] for name in plans]
        self._configs = [
            (m, m.__dict__["config"]) for m in modules.values() if "config" in m.__dict__
        ]
        copies: dict[int, Any] = {}
        routed_config: Any = copy.deepcopy(model.config, copies)
        routed_config._attn_implementation = IMPLEMENTATION
        for module, config in self._configs:
            module.config = copies.get(id(config), config)
        # As they were, to tell what the user changes meanwhile.
        self._before = copy.deepcopy([vars(module.config) for module, _ in self._configs])
        for name, plan in plans.items():
            setattr(modules[name], PLAN, plan)

    def undo(self) -> None:
        """The model's own configs again, with what the user changed meanwhile."""
        for (module, config), before in zip(self._configs, self._before, strict=True):
            now = vars(module.config)
            changed = {k: v for k, v in now.items() if k not in before or v != before[k]}
            changed.pop(_OWN, None)
            if module.config is not config:
                vars(config).update({k: v for k, v in changed.items() if not _is_config(v)})
            module.config = config
        for module in self._planned:
            delattr(module, PLAN)


def _is_config(value: Any) -> bool:
    """Sub-configs are restored by the modules that own them."""
    return hasattr(value, "to_dict")


@contextmanager
def routed(model: nn.Module, plans: Mapping[str, Any]) -> Iterator[None]:
    """A route for the length of a block."""
    route = Route(model, plans)
    try:
        yield
    finally:
        route.undo()
