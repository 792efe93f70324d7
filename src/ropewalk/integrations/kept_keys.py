"""Rotated keys, kept from one decoding step to the next.

The library's cache holds un-rotated keys. Which of those that a step rotated serve the next one is
decided by what both compute (``ropewalk.attention.decode``). They are taken up again only where
the cache provably holds the same keys still: in a layer that does nothing but append, and whose
keys nobody was handed since (``ropewalk.integrations.watched_layer``). Otherwise all keys are
rotated anew, to the same numbers: what is kept is a function of the cache's content and of L, never
of what was run before. It takes half as much memory as the cache, lies in the cache's own layers,
and goes with them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from ropewalk.attention.decode import KeyPlaces, Step
from ropewalk.integrations.watched_layer import APPENDING, keys_of, unseen, watch

KEPT = "ropewalk_kept"
"""Attribute of a cache layer."""


@dataclass(frozen=True, slots=True, eq=False)
class RotatedKeys:
    """What a step left: keys rotated at ``places``, at the start of ``room`` ``[b, g, N, d]``."""

    room: Tensor
    places: KeyPlaces

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copy of a cache starts anew: its keys are other tensors."""


class KeptKeys:
    """What the layers of a cache held rotated when a pass came in."""

    def __init__(self, cache: Any) -> None:
        self._layers: dict[int, DynamicLayer] = {}
        self._before: dict[int, RotatedKeys] = {}
        for index, layer in enumerate(cache.layers if isinstance(cache, Cache) else ()):
            if not isinstance(layer, DynamicLayer) or type(layer) not in APPENDING:
                continue
            if type(layer) is DynamicLayer:  # before its first pass: compilers see one type
                watch(layer)
            self._layers[index] = layer
            # Taken out of the layer: what one pass takes up, no other may write into.
            left = vars(layer).pop(KEPT, None)
            if left is not None and unseen(layer):
                self._before[index] = left

    def rotated(self, index: int | None, keys: Tensor, step: Step) -> Tensor | None:
        """``keys`` ``[b, g, n, d]`` of layer ``index``, rotated, in room for more.

        None where the cache does not vouch for them.
        """
        layer = None if index is None else self._layers.get(index)
        if index is None or layer is None or keys_of(layer) is not keys or keys.requires_grad:
            return None
        before = self._before.pop(index, None)
        room = _room_for(keys, step, before)
        step.write_keys(keys, room, step.stale(None if before is None else before.places))
        watch(layer)
        vars(layer)[KEPT] = RotatedKeys(room, step.places)
        return room


def _room_for(keys: Tensor, step: Step, before: RotatedKeys | None) -> Tensor:
    """That of ``before``, or a larger one that holds what it held."""
    batch, groups, _, width = keys.shape
    if before is None:
        return keys.new_empty(batch, groups, step.room, width)
    old = before.room
    writable = torch.is_inference_mode_enabled() or not old.is_inference()
    if old.shape[2] == step.room and writable:
        return old
    room, held = keys.new_empty(batch, groups, step.room, width), min(old.shape[2], step.room)
    room[:, :, :held] = old[:, :, :held]
    return room
