"""What a forward pass is given, taken where it enters a decoder.

The caller's positions and cache are seen together there alone. From the decoder's pre-hook to the
mask function and the rotary module, which run inside the same forward, an ``Arrival`` is handed
on by a context variable: threads do not see each other's. From there on it travels in the call.
"""

from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.cache_names import cache_in
from ropewalk.integrations.feeding import WHOLE, Feeding, Share
from ropewalk.integrations.forward_arguments import ForwardArguments
from ropewalk.integrations.key_record import RECORD, CacheAtEntry, begin_pass, end_pass
from ropewalk.integrations.positions import (
    UNMASKED_PACKING,
    own_positions,
    restarts,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrival:
    """One forward pass of ``decoder``.

    position_ids  int64 ``[b or 1, m]`` as the caller gave them; None where the caller gave none
    positions     int64 ``[b or 1, m]`` that a rotary module shows; None for what it is handed
    cache         the key cache as the pass found it
    share         the tokens that are fed here, whose positions ``positions`` are; None for all
    lengths       of each sequence at the end of the pass, ``[b or 1]``, where a share says less
    outer         of the decoder around this one
    """

    decoder: nn.Module
    position_ids: Tensor | None
    positions: Tensor | None
    cache: CacheAtEntry
    outer: "Arrival | None"
    share: Share | None = None
    lengths: Tensor | None = None


_ARRIVAL: ContextVar[Arrival | None] = ContextVar("ropewalk_arrival", default=None)


def arrival() -> Arrival | None:
    """The pass that runs in this thread, None outside of one."""
    return _ARRIVAL.get()


class Entrance(ABC):
    """Hooks on one decoder, for the time that a model is extended.

    feeding  which tokens of a pass are fed here
    """

    def __init__(self, decoder: nn.Module, feeding: Feeding = WHOLE) -> None:
        self._feeding = feeding
        self._accepted = tuple(signature(decoder.forward).parameters)
        self._hooks = [
            decoder.register_forward_pre_hook(self._enter, with_kwargs=True),
            decoder.register_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]

    @abstractmethod
    def admit(
        self, given: ForwardArguments, position_ids: Tensor | None, cache: CacheAtEntry
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
        came = ForwardArguments.of(decoder, self._accepted, args, kwargs)
        given = self._feeding.prepared(came)
        cache = CacheAtEntry(given.cache, given.tokens)
        position_ids = given.position_ids
        positions, changed = self.admit(given, position_ids, cache)
        here = Arrival(
            decoder=decoder,
            position_ids=position_ids,
            positions=positions,
            cache=cache,
            outer=arrival(),
        )
        share = self._feeding.share(given)
        if share is not None:
            here, fed = _shared(here, given, share)
            changed = {**changed, **fed}
        _ARRIVAL.set(here)
        return None if not changed and given is came else ((), {**given.named, **changed})

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
        end_pass(ForwardArguments.of(decoder, self._accepted, args, kwargs).cache)


def _shared(here: Arrival, given: ForwardArguments, share: Share) -> tuple[Arrival, dict[str, Any]]:
    """A pass of which ``share`` is fed here: positions and lengths are those of the whole."""
    every = given.position_ids if here.positions is None else here.positions
    if every is None:
        first = here.cache.tokens
        every = torch.arange(first, first + share.tokens, device=given.device)[None]
    own = share.own(every)
    fed = {name: share.own(given.named[name]) for name in given.fed}
    if "position_ids" in given.accepted:
        fed["position_ids"] = own
    return replace(here, positions=own, share=share, lengths=every.amax(dim=-1) + 1), fed


class RotaryEntrance(Entrance):
    """Under a rotary module of ours and the library's own attention: positions are the rotation's.

    A plain forward passes position_ids 0 .. n-1 for a left-padded batch; those of the mask are
    handed on instead. What the caller gave stays.
    """

    def admit(
        self, given: ForwardArguments, position_ids: Tensor | None, cache: CacheAtEntry
    ) -> tuple[Tensor | None, dict[str, Any]]:
        refuse_unrotated(given)
        refuse_unmasked_packing(given, position_ids)
        begin_pass(given.cache)
        return (given.own_positions(cache.tokens) if position_ids is None else None), {}


class PositionsEntrance:
    """The same where the decoder takes position_ids: it is handed the right ones.

    Nothing is kept for the time of the pass and nothing is read of a tensor, so that a compiler
    sees one graph; what can only be read off values is checked outside of one.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._accepted = tuple(signature(decoder.forward).parameters)
        self._hooks = [
            decoder.register_forward_pre_hook(self._enter, with_kwargs=True),
            decoder.register_forward_hook(self._leave, with_kwargs=True),
        ]

    def undo(self) -> None:
        """Take the hooks out."""
        for hook in self._hooks:
            hook.remove()

    def _enter(
        self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        given = ForwardArguments.of(decoder, self._accepted, args, kwargs)
        refuse_unrotated(given)
        if not torch.compiler.is_compiling():
            refuse_unmasked_packing(given, given.position_ids)
            begin_pass(given.cache)
        if given.named.get("position_ids") is not None:
            return None
        mask, tokens = given.named.get("attention_mask"), given.tokens
        if not isinstance(mask, Tensor) or mask.ndim != 2 or tokens is None:
            return None
        cache = given.cache
        seen = 0 if cache is None else cache.get_seq_length()
        every = own_positions(mask.bool(), len(mask), mask.shape[1] + tokens, mask.device)
        positions = every[:, torch.arange(tokens, device=mask.device) + seen]
        return (), {**given.named, "position_ids": positions}

    def _leave(
        self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        if not torch.compiler.is_compiling():
            end_pass(ForwardArguments.of(decoder, self._accepted, args, kwargs).cache)


def rotary_entrance(decoder: nn.Module) -> "PositionsEntrance | RotaryEntrance":
    """The entrance under a rotary module of ours."""
    if "position_ids" in signature(decoder.forward).parameters:
        return PositionsEntrance(decoder)
    return RotaryEntrance(decoder)


def refuse_unrotated(given: ForwardArguments) -> None:
    """Raise RopewalkError for a cache of keys that another method left un-rotated."""
    if hasattr(given.cache, RECORD):
        raise RopewalkError(
            "a key cache of un-rotated keys, which another method wrote: expected a cache that "
            "this method or the model itself filled; start from the whole prompt"
        )


def refuse_unmasked_packing(given: ForwardArguments, position_ids: Tensor | None) -> None:
    """Raise RopewalkError for sequences packed in one row that nothing masks apart."""
    if position_ids is None or given.packing_masked:
        return
    if bool(restarts(position_ids, given.real(position_ids.shape[1])).any()):
        raise RopewalkError(UNMASKED_PACKING)
