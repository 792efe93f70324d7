"""A decoding step: one row a sequence, over keys that steps before it may have rotated.

The keys of a row lie in one region each, so each needs one rotation: where its region shows it, at
the row's L. What is rotated stays as it is while the row moves on under one L, but for its own key
and for those that pass from one region to the next. The query is rotated once for each run of keys
that one region shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.attention.call import Call, Shared, four_axes
from ropewalk.attention.rotary import Rotary, rotated
from ropewalk.attention.softmax import Softmax, times_tau
from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Side
from ropewalk.core.regions import Region
from ropewalk.core.rotation import Turn, work_dtype
from ropewalk.core.rows import Rows

ROOM_KEYS = 256
"""Room for rotated keys grows by so many."""
MOST_RANGES = 4
"""Ranges of keys that a step rotates apart; more are rotated together with what lies between."""

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyPlaces:
    """Where and how keys were rotated.

    lengths  int64 ``[b]``: L
    shown    float64 ``[b, n]``: the position of each key in the region that it lies in
    dtype    in which was rotated
    """

    encoding: Encoding
    first_channel: int
    dtype: torch.dtype
    lengths: Tensor
    shown: Tensor

    def turn(self, side: Side, positions: Tensor) -> Turn | None:
        """Of ``positions`` ``[b, p]``: rotates ``[b, ., p, d]``."""
        lengths = self.lengths[:, None].expand_as(positions)
        same = bool((self.lengths == self.lengths[0]).all())
        turn = self.encoding.turn(
            side,
            positions,
            int(self.lengths[0]) if same else lengths,
            first_channel=self.first_channel,
            dtype=self.dtype,
        )
        return None if turn is None else turn.beside(1)

    def stale(self, before: "KeyPlaces | None") -> Ranges:
        """Ranges of keys that have to be rotated, where ``before`` left those of its own."""
        count = self.shown.shape[1]
        if before is None or not self._like(before):
            return ((0, count),)
        kept = before.shown.shape[1]
        moved = (self.shown[:, :kept] != before.shown).any(dim=0).nonzero().flatten().tolist()
        ranges = _ranges([*moved, *range(kept, count)])
        return ranges if len(ranges) <= MOST_RANGES else ((ranges[0][0], count),)

    def _like(self, other: "KeyPlaces") -> bool:
        """Whether both rotate a key that is shown at one position alike."""
        settings = (self.encoding, self.first_channel, self.dtype)
        same = settings == (other.encoding, other.first_channel, other.dtype)
        return same and torch.equal(self.lengths, other.lengths)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What all layers under one encoding share.

    cuts   indices 0 .. n where a run of keys that one region shows starts or ends
    query  float64 ``[b, runs]``: the row's position in the region of each run
    """

    rows: Rows
    places: KeyPlaces
    cuts: tuple[int, ...]
    query: Tensor
    shared: Shared = field(default_factory=Shared)

    @property
    def room(self) -> int:
        """Keys that there has to be room for: n, filled up."""
        return self.cuts[-1] + -self.cuts[-1] % ROOM_KEYS

    def stale(self, before: KeyPlaces | None) -> Ranges:
        """As ``KeyPlaces.stale``."""
        return self.shared.once(before, lambda: self.places.stale(before))

    def key_turn(self, start: int, stop: int) -> Turn | None:
        """Of a range of keys: rotates ``[b, g, n, d]``; None where it changes nothing."""

        def make() -> Turn | None:
            turn = self.places.turn(Side.KEY, self.places.shown[:, start:stop])
            return None if turn is None or turn.is_identity else turn

        return self.shared.once((start, stop), make)

    def write_keys(self, k: Tensor, room: Tensor, ranges: Ranges) -> None:
        """Rotate some of ``k`` ``[b, g, n, d]`` into ``room`` ``[b, g, N, d]``."""
        for first, last in ranges:
            # Run by run: what a region shows at 0 is copied, not rotated.
            cuts = (first, *(cut for cut in self.cuts if first < cut < last), last)
            for start, stop in pairwise(cuts):
                turn, own = self.key_turn(start, stop), room[:, :, start:stop]
                if turn is None:
                    own.copy_(k[:, :, start:stop])
                else:
                    turn.write(k[:, :, start:stop], own)

    def attend(self, q: Tensor, keys: Tensor, v: Tensor, softmax: Softmax) -> Tensor:
        """``q`` ``[b, h, 1, d]``, rotated ``keys`` ``[b, g, N, d]``, ``v`` ``[b, g, n, e]``.

        N is n or more; what lies behind n is not read. Where ``Softmax.bare`` says so.
        """
        batch, heads, _, width = q.shape
        stop, mask = self.rows.allowed(0, 1)
        mask = None if mask is None else four_axes(mask)
        # Heads that share keys are rows that see the same: their keys are read once.
        q = times_tau(q, self.places.encoding, self.rows).view(batch, v.shape[1], -1, width)
        v = v[:, :, :stop]
        if len(self.cuts) == 2 and (mask is None or mask.shape[1] == 1):
            q = rotated(q[:, :, None], self._query_turn())[:, :, 0]
            # On CUDA, fused attention hands back heads that lie apart.
            return softmax.attend(q, keys[:, :, :stop], v, mask).reshape(batch, heads, 1, -1)
        products = self._products(q, keys)[..., :stop]
        return softmax.weigh(products.view(batch, heads, 1, -1), v, mask, width)

    def _products(self, q: Tensor, keys: Tensor) -> Tensor:
        """``q`` ``[b, g, h / g, d]``, ``keys`` ``[b, g, n, d]`` -> ``[b, g, h / g, n]``."""
        dtype = work_dtype(q.dtype)  # a product of half precision would be rounded to it
        queries = rotated(q[:, :, None].to(dtype), self._query_turn())
        queries = queries.expand(-1, -1, len(self.cuts) - 1, -1, -1)
        products = queries.new_empty(*q.shape[:3], self.cuts[-1])
        for run, (start, stop) in enumerate(pairwise(self.cuts)):
            own = keys[:, :, start:stop].to(dtype)
            products[..., start:stop] = queries[:, :, run] @ own.transpose(-1, -2)
        return products

    def _query_turn(self) -> Turn | None:
        """Rotates ``[b, g, runs, h / g, d]``."""
        turn = self.shared.once("query", lambda: self.places.turn(Side.QUERY, self.query))
        return None if turn is None else turn.beside(-2)


def step_of(call: Call, rotary: Rotary, dtype: torch.dtype) -> Step:
    """The step of a call of one row a sequence, for all layers under one encoding.

    dtype  in which is rotated
    """
    key = ("step", rotary.encoding, rotary.first_channel, dtype)
    return call.shared.once(key, lambda: _step(call, rotary, dtype))


def _step(call: Call, rotary: Rotary, dtype: torch.dtype) -> Step:
    rows, regions = call.rows, rotary.encoding.position_map.regions
    starts, query, shown = _shown(rows, regions)
    origins = call.origins(rotary.encoding)
    if origins is not None:
        query, shown = query - origins, shown - origins
    places = KeyPlaces(
        encoding=rotary.encoding,
        first_channel=rotary.first_channel,
        dtype=dtype,
        lengths=call.lengths(rotary.encoding)[:, 0],
        shown=shown,
    )
    return Step(rows=rows, places=places, cuts=(*starts, shown.shape[1]), query=query)


def _shown(rows: Rows, regions: Sequence[Region]) -> tuple[list[int], Tensor, Tensor]:
    """First keys of runs of one region; where each shows the row ``[b, runs]`` and keys ``[b, n]``.

    Worked out once for each token, so every pass over all keys counts.
    """
    query, keys = rows.query_positions[:, 0], rows.key_positions
    own = torch.stack([region.query_positions(query) for region in regions], dim=1)
    shown = regions[0].key_positions(keys)
    if len(regions) == 1:
        return [0], own, shown
    number = torch.zeros_like(rows.key_index, dtype=torch.int8)
    for each, region in enumerate(regions[1:], start=1):
        covered = region.covers(rows.query_index, rows.key_index)
        number.masked_fill_(covered, each)
        shown = torch.where(covered, region.key_positions(keys), shown)
    starts = (number.diff(dim=1) != 0).any(dim=0).nonzero().flatten() + 1
    starts = functional.pad(starts, (1, 0))
    return starts.tolist(), own.gather(1, number[:, starts].long()), shown


def attend_step(q: Tensor, k: Tensor, v: Tensor, step: Step, softmax: Softmax) -> Tensor:
    """Attention of one row a sequence over un-rotated ``k``."""
    if step.places.encoding.frequencies is not None:
        room = torch.empty_like(k)
        step.write_keys(k, room, ((0, k.shape[2]),))
        k = room
    return step.attend(q, k, v, softmax)


def _ranges(indices: list[int]) -> Ranges:
    """Ranges that hold the rising ``indices`` and nothing else."""
    starts = [i for before, i in pairwise([-2, *indices]) if i != before + 1]
    stops = [i + 1 for i, after in pairwise([*indices, -2]) if after != i + 1]
    return tuple(zip(starts, stops, strict=True))
