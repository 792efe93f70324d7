"""Rotated keys, kept from one decoding step to the next.

The library's cache holds un-rotated keys. Which of those that a step rotated serve the next one is
decided by what both compute (``ropewalk.attention.decode``). They are taken up again only where
the cache provably holds the same keys still: the very tensor that the last step saw, not written
to since, in a cache layer that does nothing but append. Otherwise all keys are rotated anew, to
the same numbers: what is kept is a function of the cache's content and of L, never of what was run
before. It takes half as much memory as the cache, lies in the cache's own layers, and goes with
them.
"""

import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from ropewalk.attention.decode import KeyPlaces, Step

KEPT = "ropewalk_kept"
"""Attribute of a cache layer."""


@dataclass(frozen=True, slots=True, eq=False)
class RotatedKeys:
    """What a step left: keys rotated at ``places``, at the start of ``room`` ``[b, g, N, d]``."""

    room: Tensor
    places: KeyPlaces
    source: "weakref.ref[Tensor]"
    version: int

    def is_of(self, keys: Tensor | None) -> bool:
        """Whether ``keys`` are what was rotated, unchanged."""
        return keys is not None and self.source() is keys and keys._version == self.version

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copy of a cache starts anew: its keys are other tensors."""


class KeptKeys:
    """What the layers of a cache held rotated when a pass came in."""

    def __init__(self, cache: Any) -> None:
        self._layers: dict[int, DynamicLayer] = {}
        self._before: dict[int, RotatedKeys] = {}
        for index, layer in enumerate(cache.layers if isinstance(cache, Cache) else ()):
            if type(layer) is not DynamicLayer:
                continue
            self._layers[index] = layer
            # Taken out of the layer: what one pass takes up, no other may write into.
            left = vars(layer).pop(KEPT, None)
            if left is not None and left.is_of(layer.keys):
                self._before[index] = left

    def rotated(self, index: int | None, keys: Tensor, step: Step) -> Tensor | None:
        """``keys`` ``[b, g, n, d]`` of layer ``index``, rotated, in room for more.

        None where the cache does not vouch for them.
        """
        layer = None if index is None else self._layers.get(index)
        if index is None or layer is None or layer.keys is not keys:
            return None
        if keys.is_inference() or keys.requires_grad:
            return None
        before = self._before.pop(index, None)
        room = _room_for(keys, step, before)
        step.write_keys(keys, room, step.stale(None if before is None else before.places))
        setattr(layer, KEPT, RotatedKeys(room, step.places, weakref.ref(keys), keys._version))
        return room


def _room_for(keys: Tensor, step: Step, before: RotatedKeys | None) -> Tensor:
    """That of ``before``, or a larger one that holds what it held."""
    if before is not None and before.room.shape[2] == step.room:
        return before.room
    batch, groups, _, width = keys.shape
    room = keys.new_empty(batch, groups, step.room, width)
    if before is not None:
        held = min(before.room.shape[2], step.room)
        room[:, :, :held] = before.room[:, :, :held]
    return room
