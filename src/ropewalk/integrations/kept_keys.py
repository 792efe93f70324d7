"""Rotated keys, kept from one decoding step to the next.

The library's cache holds un-rotated keys. Which of those that a step rotated serve the next one is
decided by what both compute (``ropewalk.attention.decode``). They are taken up again only where the
cache provably holds the same keys still: the very tensor that the last step saw, not written to
since, in a cache layer that does nothing but append. Otherwise all keys are rotated anew, to the
same numbers: what is kept is a function of the cache's content and of L, never of what was run
before. It takes half as much memory as the cache, and goes with it.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from ropewalk.attention.decode import KeyPlaces, Step


@dataclass(frozen=True, slots=True, eq=False)
class _Rotated:
    """What a step left: keys rotated at ``places``, at the start of ``room`` ``[b, g, N, d]``."""

    room: Tensor
    places: KeyPlaces
    source: "weakref.ref[Tensor]"
    version: int

    def is_of(self, keys: Tensor) -> bool:
        return self.source() is keys and keys._version == self.version


class KeptKeys:
    """The rotated keys of one attention module."""

    def __init__(self) -> None:
        self._left: _Rotated | None = None
        self._layer: DynamicLayer | None = None
        self._taken_up: _Rotated | None = None

    def see_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Forward pre-hook of the attention module, before the cache takes this call's keys."""
        self._layer, self._taken_up = _appending_layer(module, (*args, *kwargs.values())), None
        left, self._left = self._left, None
        keys = None if self._layer is None else self._layer.keys
        if left is not None and keys is not None and left.is_of(keys):
            self._taken_up = left

    def rotated(self, keys: Tensor, step: Step) -> Tensor | None:
        """``keys`` ``[b, g, n, d]`` rotated for ``step``, in room for more ``[b, g, N, d]``.

        None where the cache does not vouch for them.
        """
        layer, before, self._layer, self._taken_up = self._layer, self._taken_up, None, None
        if layer is None or layer.keys is not keys or keys.is_inference() or keys.requires_grad:
            return None
        room = _room_for(keys, step, before)
        step.write_keys(keys, room, step.stale(None if before is None else before.places))
        source = weakref.ref(keys, self._forget)
        self._left = _Rotated(room, step.places, source, keys._version)
        return room

    def _forget(self, source: "weakref.ref[Tensor]") -> None:
        """The cache has let go of the keys."""
        if self._left is not None and self._left.source is source:
            self._left = None


def _appending_layer(module: nn.Module, arguments: tuple[Any, ...]) -> DynamicLayer | None:
    """The layer of the call's cache that this module writes to, if it keeps every key as it is."""
    cache = next((each for each in arguments if isinstance(each, Cache)), None)
    index = getattr(module, "layer_idx", None)
    if cache is None or index is None or index >= len(cache.layers):
        return None
    layer = cache.layers[index]
    return layer if type(layer) is DynamicLayer else None


def _room_for(keys: Tensor, step: Step, before: _Rotated | None) -> Tensor:
    """That of ``before``, or a larger one that holds what it held."""
    if before is not None and before.room.shape[2] == step.room:
        return before.room
    batch, groups, _, width = keys.shape
    room = keys.new_empty(batch, groups, step.room, width)
    if before is not None:
        held = before.room.shape[2]
        room[:, :, :held] = before.room
    return room
