"""Route a model's attention through ours, and back, without touching anything global.

The attention implementation is named in the config, so the model gets a copy of its config:
another model that shares the object keeps its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.attending import ATTENTION, routed_attention
from ropewalk.integrations.call import CallMask, call_mask
from ropewalk.integrations.entrance import Entrance
from ropewalk.integrations.forward_arguments import ForwardArguments
from ropewalk.integrations.key_record import CacheAtEntry
from ropewalk.integrations.own_config import OwnConfig
from ropewalk.integrations.rotary import IMPLEMENTATION, refuse_other_attention

AttentionInterface.register(IMPLEMENTATION, routed_attention)
AttentionMaskInterface.register(IMPLEMENTATION, call_mask)


class AttentionEntrance(Entrance):
    """Under our attention function: the cache answers for its keys, and a mask that was made
    before the pass learns of it."""

    def admit(
        self, given: ForwardArguments, position_ids: Tensor | None, cache: CacheAtEntry
    ) -> tuple[Tensor | None, dict[str, Any]]:
        refuse_other_attention(getattr(given.decoder, "config", None))
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


def _refuse_weights(given: ForwardArguments) -> None:
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
    """A model whose attention modules are routed through ours, until ``undo``."""

    def __init__(self, model: nn.Module, attentions: Mapping[str, Any]) -> None:
        """``attentions``: by module name, a LayerAttention."""
        modules = dict(model.named_modules())
        self._routed = [modules[name] for name in attentions]
        self._config = OwnConfig(model, _ours)
        for name, attention in attentions.items():
            setattr(modules[name], ATTENTION, attention)

    def undo(self) -> None:
        """The library's attention, as the model's own config names it."""
        self._config.undo()
        for module in self._routed:
            delattr(module, ATTENTION)


def _ours(config: Any) -> None:
    config._attn_implementation = IMPLEMENTATION


@contextmanager
def routed(model: nn.Module, attentions: Mapping[str, Any]) -> Iterator[None]:
    """A route for the length of a block."""
    route = Route(model, attentions)
    try:
        yield
    finally:
        route.undo()
