"""What a forward pass is given, taken where it enters a decoder.

The caller's positions and cache are seen together there alone. From the decoder's pre-hook to the
mask function and the rotary module, which run inside the same forward, an ``Arrival`` is handed
on by a context variable: threads do not see each other's. From there on it travels in the call.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.cache_names import CACHE_NAMES, cache_in
from ropewalk.integrations.key_record import RECORD, CacheAtEntry
from ropewalk.integrations.positions import (
    UNMASKED_PACKING,
    one_axis,
    own_positions,
    restarts,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrival:
    """One forward pass of ``decoder``.

    position_ids  int64 ``[b or 1, m]`` as the caller gave them; None where the caller gave none
    positions     int64 ``[b or 1, m]`` that a rotary module shows; None for what it is handed
    cache         the key cache as the pass found it
    outer         of the decoder around this one
    """

    decoder: nn.Module
    position_ids: Tensor | None
    positions: Tensor | None
    cache: CacheAtEntry
    outer: "Arrival | None"


_ARRIVAL: ContextVar[Arrival | None] = ContextVar("ropewalk_arrival", default=None)


def arrival() -> Arrival | None:
    """The pass that runs in this thread, None outside of one."""
    return _ARRIVAL.get()


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Arguments of a decoder's forward, by name, however they were passed.

    accepted  names that the forward takes, in their order
    """

    decoder: nn.Module
    named: dict[str, Any]
    accepted: tuple[str, ...]

    @classmethod
    def of(
        cls,
        decoder: nn.Module,
        accepted: tuple[str, ...],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> "Given":
        """What a pre-hook of ``decoder`` is told."""
        return cls(decoder, {**dict(zip(accepted, args, strict=False)), **kwargs}, accepted)

    @property
    def position_ids(self) -> Tensor | None:
        """Along one axis; RopewalkError for what no encoding is told of."""
        position_ids = self.named.get("position_ids")
        if position_ids is None:
            return None
        position_ids = one_axis(position_ids)
        if bool((position_ids < 0).any()):
            raise RopewalkError(
                f"position_ids from {int(position_ids.min())} on: expected 0 or more; "
                "count each sequence's tokens from 0"
            )
        return position_ids

    @property
    def mask(self) -> Any:
        """The attention mask, the first where there is one for each kind of layer."""
        mask = self.named.get("attention_mask")
        return next(iter(mask.values())) if isinstance(mask, dict) else mask

    @property
    def padding(self) -> Tensor | None:
        """A 2-D padding mask that hides something; None for any other mask, or none."""
        mask = self.mask
        if not isinstance(mask, Tensor) or mask.ndim != 2 or bool(mask.all()):
            return None
        return mask.bool()

    @property
    def cache(self) -> Any:
        """The key cache, None where none is given."""
        return next((self.named[n] for n in CACHE_NAMES if self.named.get(n) is not None), None)

    @property
    def takes_cache(self) -> bool:
        """Whether the decoder knows one: a bidirectional model does not."""
        return any(name in self.accepted for name in CACHE_NAMES)

    @property
    def makes_cache(self) -> bool:
        """Whether the pass makes a cache of its own."""
        asked = self.named.get("use_cache")
        config = getattr(self.decoder, "config", None)
        return bool(getattr(config, "use_cache", False) if asked is None else asked)

    @property
    def tokens(self) -> int | None:
        """m, None where neither ids nor embeddings are given."""
        for name in ("input_ids", "inputs_embeds"):
            value = self.named.get(name)
            if isinstance(value, Tensor):
                return value.shape[1]
        return None

    @property
    def packing_masked(self) -> bool:
        """Whether sequences packed in one row are masked apart: where the library itself makes
        the mask, and is given neither another nor a cache, or by a mask that somebody made."""
        if self.mask is not None:
            return getattr(self.mask, "ndim", 2) == 4
        return self.cache is None and self.takes_cache and not self.makes_cache

    def real(self, tokens: int) -> Tensor | None:
        """Bool ``[b, tokens]``: which of the last are no padding; None where all are real."""
        padding = self.padding
        return None if padding is None else padding[:, -tokens:]

    def own_positions(self, seen: int) -> Tensor | None:
        """Of these tokens among their sequences' own, from the padding mask; None without one."""
        padding, tokens = self.padding, self.tokens
        if padding is None or tokens is None:
            return None
        return own_positions(padding, len(padding), seen + tokens)[:, seen:]


class Entrance(ABC):
    """Hooks on one decoder, for the time that a model is extended."""

    def __init__(self, decoder: nn.Module) -> None:
        self._accepted = tuple(signature(decoder.forward).parameters)
        self._hooks = [
            decoder.register_forward_pre_hook(self._enter, with_kwargs=True),
            decoder.register_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]

    @abstractmethod
    def admit(
        self, given: Given, position_ids: Tensor | None, cache: CacheAtEntry
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Positions that a rotary module shows, and arguments to put in place of those given.

        position_ids  ``given.position_ids``, which looks at their values

        Raises RopewalkError for a pass that cannot be computed right.
        """

    def undo(self) -> None:
        """Take the hooks out."""
        for hook in self._hooks:
            hook.remove()

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _enter(
        self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        given = Given.of(decoder, self._accepted, args, kwargs)
        cache = CacheAtEntry(given.cache)
        position_ids = given.position_ids
        positions, changed = self.admit(given, position_ids, cache)
        here = Arrival(
            decoder=decoder,
            position_ids=position_ids,
            positions=positions,
            cache=cache,
            outer=arrival(),
        )
        _ARRIVAL.set(here)
        return None if not changed else ((), {**given.named, **changed})

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _leave(
        self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        here = arrival()
        if here is None or here.decoder is not decoder:  # it was refused at its entrance
            return
        _ARRIVAL.set(here.outer)
        if out is None:  # it raised, perhaps between two layers that write to the cache
            return
        here.cache.leave(cache_in(out))


class RotaryEntrance(Entrance):
    """Under a rotary module of ours and the library's own attention: positions are the rotation's.

    A plain forward passes position_ids 0 .. n-1 for a left-padded batch; those of the mask are
    handed on instead. What the caller gave stays.
    """

    def admit(
        self, given: Given, position_ids: Tensor | None, cache: CacheAtEntry
    ) -> tuple[Tensor | None, dict[str, Any]]:
        refuse_unrotated(given)
        if position_ids is not None:
            refuse_unmasked_packing(given, position_ids)
            return None, {}
        return given.own_positions(cache.tokens), {}


class PositionsEntrance:
    """The same where the decoder takes position_ids: it is handed the right ones.

    Nothing is kept for the time of the pass and nothing is read of a tensor, so that a compiler
    sees one graph; what can only be read off values is checked outside of one.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._accepted = tuple(signature(decoder.forward).parameters)
        self._hook = decoder.register_forward_pre_hook(self._enter, with_kwargs=True)

    def undo(self) -> None:
        """Take the hook out."""
        self._hook.remove()

    def _enter(
        self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        given = Given.of(decoder, self._accepted, args, kwargs)
        refuse_unrotated(given)
        if given.named.get("position_ids") is not None:
            if not torch.compiler.is_compiling():
                refuse_unmasked_packing(given, given.position_ids)
            return None
        mask, tokens = given.named.get("attention_mask"), given.tokens
        if not isinstance(mask, Tensor) or mask.ndim != 2 or tokens is None:
            return None
        cache = given.cache
        seen = 0 if cache is None else cache.get_seq_length()
        every = own_positions(mask.bool(), len(mask), mask.shape[1] + tokens)
        positions = every[:, torch.arange(tokens, device=mask.device) + seen]
        return (), {**given.named, "position_ids": positions}


def rotary_entrance(decoder: nn.Module) -> "PositionsEntrance | RotaryEntrance":
    """The entrance under a rotary module of ours."""
    if "position_ids" in signature(decoder.forward).parameters:
        return PositionsEntrance(decoder)
    return RotaryEntrance(decoder)


def refuse_unrotated(given: Given) -> None:
    """Raise RopewalkError for a cache of keys that another method left un-rotated."""
    if hasattr(given.cache, RECORD):
        raise RopewalkError(
            "a key cache of un-rotated keys, which another method wrote: expected a cache that "
            "this method or the model itself filled; start from the whole prompt"
        )


def refuse_unmasked_packing(given: Given, position_ids: Tensor | None) -> None:
    """Raise RopewalkError for sequences packed in one row that nothing masks apart."""
    if position_ids is None or given.packing_masked:
        return
    if bool(restarts(position_ids, given.real(position_ids.shape[1])).any()):
        raise RopewalkError(UNMASKED_PACKING)
