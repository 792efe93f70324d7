"""The turns that regions give to queries and keys, worked out once for all layers.

They are the same in all layers of a model and, for keys whose L is settled, in all steps of
decoding. At 8,192 keys of SmolLM2-135M taking cosines and sines anew in every layer costs as much
as the rest of a decoding step, so the last ones are kept, by what decides them.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ropewalk.core.encoding import Encoding
from ropewalk.core.regions import Region
from ropewalk.core.rotation import Turn

LEAST_TABLE = 1024
"""Keys of the smallest table; larger ones have this times a power of two."""


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """True positions ``first <= p < last``; each once and in order unless ``index`` says else.

    index  int64 ``[n]``, counted from ``first``
    """

    first: int
    last: int
    index: Tensor | None

    @classmethod
    def of(cls, positions: Tensor) -> "Span":
        if not len(positions):
            return cls(0, 0, None)
        first, last = int(positions.min()), int(positions.max()) + 1
        in_order = last - first == len(positions) and bool((positions.diff() == 1).all())
        return cls(first, last, None if in_order else positions - first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Of an encoding at one context length, for tensors of one dtype on one device.

    The attention factor belongs to query and key; the query bears both shares.
    """

    encoding: Encoding
    length: int
    first_channel: int
    dtype: torch.dtype
    device: torch.device

    def of_queries(self, span: Span, regions: tuple[Region, ...]) -> Turn:
        """For tensors ``[..., r, m, d]``: of each of r regions."""
        turn = _query_turn(self, regions, span.first, span.last)
        return turn if span.index is None else rows_of(turn, (slice(None), span.index))

    def of_keys(self, span: Span, region: Region) -> Turn | None:
        """For tensors ``[..., n, d]``; None where keys stand at 0 and do not turn."""
        first, last = span.first, span.last
        if self.encoding.settled_length is not None:
            first, last = _table_around(first, last)
        turn = _key_turn(self, region, first, last)
        if turn is None:
            return None
        turn = rows_of(turn, slice(span.first - first, span.last - first))
        return turn if span.index is None else rows_of(turn, span.index)

    def by(self, positions: Tensor, factor: float) -> Turn:
        return Turn.by(
            self.encoding.frequencies.angles(positions, self.length),
            pairing=self.encoding.geometry.pairing,
            first_channel=self.first_channel,
            factor=factor,
            dtype=self.dtype,
        )


def rows_of(turn: Turn, index: Tensor | slice | tuple[slice, Tensor]) -> Turn:
    """Of some of the positions that ``turn`` is for."""
    return replace(turn, cos=turn.cos[index], sin=turn.sin[index])


def _table_around(first: int, last: int) -> tuple[int, int]:
    """A range that holds ``first .. last - 1`` and stays the same while a sequence grows."""
    size = LEAST_TABLE
    while size < last - first:
        size *= 2
    start = first // size * size
    return start, start + size * (1 if last <= start + size else 2)


@lru_cache(maxsize=8)
def _key_turn(turns: Turns, region: Region, first: int, last: int) -> Turn | None:
    positions = region.key_positions(torch.arange(first, last, device=turns.device))
    turn = turns.by(positions, 1.0)
    return turn if bool(turn.sin.any()) else None


@lru_cache(maxsize=4)
def _query_turn(turns: Turns, regions: tuple[Region, ...], first: int, last: int) -> Turn:
    rows = torch.arange(first, last, device=turns.device)
    positions = torch.stack([region.query_positions(rows) for region in regions])
    return turns.by(positions, turns.encoding.frequencies.attention_factor(turns.length) ** 2)
