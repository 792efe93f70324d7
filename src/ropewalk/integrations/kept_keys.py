"""Turned keys, kept from one decoding step to the next while nothing about them changes.

The library's cache holds un-rotated keys. While L stays the same, a step only has to turn its own
keys: the others are as the step before left them. They are taken up again only where the cache
provably holds the same keys still: the very tensor that the last step saw, not written to since,
in a cache layer that does nothing but append. Otherwise all keys are turned anew, to the same
numbers: what is kept is a function of the cache's content and of L, never of what was run before.
It takes half as much memory as the cache, and goes with it.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from ropewalk.core.encoding import Encoding
from ropewalk.core.rotation import Turn
from ropewalk.core.rows import Rows
from ropewalk.core.turning import turns

SPARE_SHARE, LEAST_SPARE = 8, 64
"""Room for an eighth more keys, at least so many: few steps move them to a larger one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """A call of one row a sequence, all at one L.

    lasts          whether the rows after them will see this L too
    key_positions  int64 ``[b, n]``
    queries        turns ``[b, h, 1, d]``
    """

    encoding: Encoding
    first_channel: int
    dtype: torch.dtype
    length: int
    lasts: bool
    key_positions: Tensor
    queries: Turn

    def same_keys(self, other: "Step", count: int) -> bool:
        """Whether both turn their first ``count`` keys alike."""
        own, others = self.key_positions[:, :count], other.key_positions[:, :count]
        settings = (self.encoding, self.length, self.first_channel, self.dtype)
        same = settings == (other.encoding, other.length, other.first_channel, other.dtype)
        return same and torch.equal(own, others)


@lru_cache(maxsize=2)
def step_of(rows: Rows, encoding: Encoding, first_channel: int, dtype: torch.dtype) -> Step | None:
    """For all layers of a call, which ask with the same ``rows``, told apart by identity."""
    positions, ends = rows.length_positions, rows.sequence_lengths
    if positions.shape[1] > 1 or len(encoding.position_map.regions) > 1:
        return None
    now, then = (encoding.row_lengths(positions + more, ends + more) for more in (0, 1))
    length = int(now[0, 0])
    if bool((now != length).any()):
        return None
    (region,) = encoding.position_map.regions
    angles, factor = turns(region.query_positions(rows.query_positions), now, encoding)
    queries = Turn.by(
        angles[:, None],
        pairing=encoding.geometry.pairing,
        first_channel=first_channel,
        factor=factor[:, None],
        dtype=dtype,
    )
    return Step(
        encoding=encoding,
        first_channel=first_channel,
        dtype=dtype,
        length=length,
        lasts=bool((then == length).all()),
        key_positions=rows.key_positions,
        queries=queries,
    )


@lru_cache(maxsize=2)
def _key_turn(step: Step, start: int) -> Turn:
    """Of keys ``start`` and up: turns ``[b, g, n - start, d]``."""
    encoding, positions = step.encoding, step.key_positions[:, start:]
    (region,) = encoding.position_map.regions
    lengths = torch.full_like(positions, step.length)
    angles, factor = turns(region.key_positions(positions), lengths, encoding)
    return Turn.by(
        angles[:, None],
        pairing=encoding.geometry.pairing,
        first_channel=step.first_channel,
        factor=factor[:, None],
        dtype=step.dtype,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Turned:
    """What a step left: ``count`` turned keys at the beginning of ``room`` ``[b, g, n, d]``."""

    room: Tensor
    count: int
    step: Step
    source: "weakref.ref[Tensor]"
    version: int

    def is_of(self, keys: Tensor) -> bool:
        return self.source() is keys and keys._version == self.version


class KeptKeys:
    """The turned keys of one attention module."""

    def __init__(self) -> None:
        self._left: _Turned | None = None
        self._layer: DynamicLayer | None = None
        self._taken_up: _Turned | None = None

    def see_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Forward pre-hook of the attention module, before the cache takes this call's keys."""
        self._layer, self._taken_up = _appending_layer(module, (*args, *kwargs.values())), None
        left, self._left = self._left, None
        keys = None if self._layer is None else self._layer.keys
        if left is not None and keys is not None and left.is_of(keys):
            self._taken_up = left

    def turned(self, keys: Tensor, step: Step) -> Tensor | None:
        """``keys`` ``[b, g, n, d]``, turned; None where it would not be worth it to keep them."""
        layer, before, self._layer, self._taken_up = self._layer, self._taken_up, None, None
        if layer is None or layer.keys is not keys or keys.is_inference() or keys.requires_grad:
            return None
        count, done = keys.shape[2], 0
        if before is not None and before.step.same_keys(step, before.count):
            done = before.count
        elif not step.lasts:
            return None
        room = _room_for(keys, before, done)
        _key_turn(step, done).write(keys[:, :, done:], room[:, :, done:count])
        source = weakref.ref(keys, self._forget)
        self._left = _Turned(room, count, step, source, keys._version)
        return room[:, :, :count]

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


def _room_for(keys: Tensor, before: _Turned | None, done: int) -> Tensor:
    """Space for all keys, the first ``done`` of them turned."""
    batch, groups, count, width = keys.shape
    if before is not None and before.room.shape[2] >= count:
        return before.room
    spare = max(count // SPARE_SHARE, LEAST_SPARE)
    room = keys.new_empty(batch, groups, count + spare, width)
    if before is not None and done:
        room[:, :, :done] = before.room[:, :, :done]
    return room
