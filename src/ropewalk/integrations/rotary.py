"""The rotary module of an extended model: angles from the encoding, never from a buffer.

The library's own module is replaced, not written into: its ``dynamic_rope_update`` would
overwrite frequencies, and ``.to(bfloat16)`` would round them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Side
from ropewalk.integrations.entrance import arrival
from ropewalk.integrations.positions import one_axis

IMPLEMENTATION = "ropewalk"
"""Our entry in the library's tables of attention functions; what it does is decided by what
each module holds."""

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


Shown = Callable[[Tensor], Tensor]
"""Positions ``[b, m]`` that a rotary module shows, from what it is handed."""


def as_handed(position_ids: Tensor) -> Tensor:
    """Those that it is handed."""
    return one_axis(position_ids)


def as_arrived(position_ids: Tensor) -> Tensor:
    """Those of the pass that runs, where its entrance knows better."""
    here = arrival()
    return one_axis(position_ids) if here is None or here.positions is None else here.positions


def sequence_ends(positions: Tensor) -> Tensor:
    """Tokens ``[b]`` of each sequence at the end of this pass: of the whole pass, where only some
    of its tokens, at ``positions``, are fed here."""
    here = arrival()
    if here is None or here.lengths is None:
        return positions.amax(dim=-1) + 1
    return here.lengths.to(positions.device)


def refuse_other_attention(config: Any) -> None:
    """Raise RopewalkError where a config names another attention than ours: cosines of 1, and keys
    that settled at birth, are half of a rotation."""
    in_force = getattr(config, "_attn_implementation", IMPLEMENTATION)
    if in_force != IMPLEMENTATION:
        raise RopewalkError(
            f"attention of an extended model was switched to {in_force}: its keys would have "
            "no positions, or another L than their queries; expected the model as extend left it; "
            "call extension.remove() first, switch, then extend again"
        )


class EncodedRotary(nn.Module):
    """cos and sin of an encoding, at the positions that each sequence's own tokens have.

    L is the encoding's one length or, where keys settle at birth, the length that each
    sequence has at the end of this pass.

    shown  the positions, from those that the family hands over
    stock  the library's module, which follows the model's dtype and device, and comes back
    """

    def __init__(
        self, encoding: Encoding, table: StockTable, shown: Shown, stock: nn.Module
    ) -> None:
        super().__init__()
        self.encoding, self.table, self.shown, self.stock = encoding, table, shown, stock

    def forward(self, x: Tensor, position_ids: Tensor, *args: Any, **settings: Any) -> Any:
        positions = self.shown(position_ids).to(x.device)
        encoding = self.encoding
        lengths: int | Tensor | None = encoding.settled_length
        if lengths is None:
            lengths = encoding.birth_lengths(positions, sequence_ends(positions))
        wave = encoding.rotation.wave(positions, lengths, Side.KEY)
        return self.table.answer(wave.real, wave.imag, x)


class ArrivingRotary(EncodedRotary):
    """The same under our attention, where the pass that runs is asked for its positions: a compiler
    leaves it alone, as it does our attention."""

    forward = torch.compiler.disable(EncodedRotary.forward)


class UnrotatedRotary(nn.Module):
    """cos = 1, sin = 0: the family's own code leaves q and k, and so the cache, un-rotated.

    stock   the library's module, which follows the model's dtype and device, and comes back
    config  the decoder's, which names the attention in force; the stock module's may be a copy,
            which a switch does not reach (Granite SWA has one for each base)
    """

    def __init__(self, table: StockTable, stock: nn.Module, config: Any) -> None:
        super().__init__()
        self.table, self.stock, self.config = table, stock, config

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor, *args: Any, **settings: Any) -> Any:
        refuse_other_attention(self.config)
        cos = x.new_ones(*one_axis(position_ids).shape, self.table.pairs)
        return self.table.answer(cos, torch.zeros_like(cos), x)
