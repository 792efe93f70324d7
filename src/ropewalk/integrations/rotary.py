"""The rotary module of an extended model: angles from the encoding, never from a buffer.

The library's own module is replaced, not written into: its ``dynamic_rope_update`` would
overwrite frequencies, and ``.to(bfloat16)`` would round them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Side
from ropewalk.integrations.call import UNMASKED_PACKING, CallMask, own_positions

Spread = Callable[[Tensor], Tensor]
"""How a family lays the f cosines of a position out for its own rotation code."""


def concatenated(x: Tensor) -> Tensor:
    """``[.., f]`` -> ``[.., 2f]``, for pairs (i, i + f)."""
    return torch.cat([x, x], dim=-1)


def repeated(x: Tensor) -> Tensor:
    """``[.., f]`` -> ``[.., 2f]``, for pairs (2i, 2i + 1)."""
    return x.repeat_interleave(2, dim=-1)


def bare(x: Tensor) -> Tensor:
    """``[.., f]`` as it is: the family's rotation code does the rest."""
    return x


SPREADS: tuple[Spread, ...] = (concatenated, repeated, bare)


class StockTable(Protocol):
    """How the family's rotary module answers."""

    def answer(self, cos: Tensor, sin: Tensor, like: Tensor) -> Any:
        """The answer for cosines and sines ``[b, m, f]``, in the dtype of ``like``."""
        ...

    @property
    def pairs(self) -> int:
        """f, as the family's own answer has it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RealTable:
    """A tuple of cos and sin, spread over ``width`` channels."""

    spread: Spread
    width: int

    def answer(self, cos: Tensor, sin: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        return self.spread(cos).to(like.dtype), self.spread(sin).to(like.dtype)

    @property
    def pairs(self) -> int:
        return self.width if self.spread is bare else self.width // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexTable:
    """One complex number a pair, in single precision (Llama 4, DeepSeek-V2)."""

    pairs: int

    def answer(self, cos: Tensor, sin: Tensor, like: Tensor) -> Tensor:
        return torch.complex(cos.float(), sin.float())


class PositionsOfCall:
    """``position_ids`` of the call that runs: some families keep them from their attention."""

    def __init__(self) -> None:
        self.position_ids: Tensor | None = None


class EncodedRotary(nn.Module):
    """cos and sin of an encoding, at the positions that each sequence's own tokens have.

    L is the encoding's one length or, where keys settle at birth, the length that each
    sequence has at the end of this call.
    """

    def __init__(self, encoding: Encoding, table: StockTable, call: PositionsOfCall) -> None:
        super().__init__()
        self.encoding, self.table, self._call = encoding, table, call
        self._positions: Tensor | None = None

    def see_call(self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the decoder: take the call's positions from its padding mask.

        A plain forward passes position_ids 0 .. n-1 for a left-padded batch. Raises
        RopewalkError for packed sequences that the library would not mask apart.
        """
        self._positions = None
        accepted = signature(decoder.forward)
        given = accepted.bind_partial(*args, **kwargs).arguments
        mask, cache = given.get("attention_mask"), given.get("past_key_values")
        if isinstance(mask, dict):
            mask = next(iter(mask.values()))
        if isinstance(mask, CallMask):
            self._positions = mask.call.rows.query_positions
        elif mask is not None and mask.ndim == 2 and not mask.all():
            seen = int(cache.get_seq_length()) if cache is not None else 0
            self._positions = own_positions(mask.bool(), len(mask), mask.shape[1])[:, seen:]
        elif mask is None or mask.ndim == 2:
            asked = given.get("use_cache")
            caches = getattr(decoder.config, "use_cache", False) if asked is None else asked
            both_ways = "past_key_values" not in accepted.parameters
            masked = mask is None and cache is None and not (caches or both_ways)
            _refuse_unmasked_packing(given.get("position_ids"), masked=masked)

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor, *args: Any, **settings: Any) -> Any:
        self._call.position_ids = position_ids = _one_axis(position_ids)
        positions = position_ids if self._positions is None else self._positions
        encoding = self.encoding
        lengths: int | Tensor | None = encoding.settled_length
        if lengths is None:
            lengths = encoding.birth_lengths(positions, positions.amax(dim=-1) + 1)
        wave = encoding.rotation.wave(positions, lengths, Side.KEY)
        return self.table.answer(wave.real, wave.imag, x)


class UnturnedRotary(nn.Module):
    """cos = 1, sin = 0: the family's own code leaves q and k, and so the cache, un-rotated."""

    def __init__(self, table: StockTable, call: PositionsOfCall) -> None:
        super().__init__()
        self.table, self._call = table, call

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor, *args: Any, **settings: Any) -> Any:
        self._call.position_ids = position_ids = _one_axis(position_ids)
        cos = x.new_ones(*position_ids.shape, self.table.pairs)
        return self.table.answer(cos, torch.zeros_like(cos), x)


def _one_axis(position_ids: Tensor) -> Tensor:
    """``[b, m]`` of positions ``[b, m]``, or of ``[axes, b, m]`` that agree.

    Families for images and videos count positions along several axes, which text moves alike.
    """
    if position_ids.ndim == 2:
        return position_ids
    if not bool((position_ids == position_ids[:1]).all()):
        raise RopewalkError(
            "position_ids that differ from axis to axis, as those of an image: expected text "
            "alone; remove the extension for other input"
        )
    return position_ids[0]


def _refuse_unmasked_packing(position_ids: Tensor | None, *, masked: bool) -> None:
    if position_ids is None or masked:
        return
    if bool((position_ids.diff(dim=-1) < 0).any()):
        raise RopewalkError(UNMASKED_PACKING)
