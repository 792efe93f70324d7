"""Fused attention of any number of regions: piece by piece, merged by log-sum-exp."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.attention import call as cutting
from ropewalk.attention.call import Call, Part
from ropewalk.attention.distances import falling_bias
from ropewalk.attention.lse import Partial, Seen, attend_lse
from ropewalk.attention.merge import Merger
from ropewalk.attention.rotary import Rotary, rotated
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiles import Piece, Shape, Tile
from ropewalk.core.rotation import work_dtype
from ropewalk.core.score_mods import Block


def attend_fused(
    q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, *, call: Call, softmax: Softmax
) -> Tensor:
    """Attention of ``q`` ``[b, h, m, d]`` over ``k``, ``v`` ``[b, g, n, .]`` without gradient.

    Softcap and dropout are not applied.
    """
    batch, heads, count, _ = q.shape
    # Models ask for the values of all heads of a token side by side.
    out = q.new_empty(batch, count, heads, v.shape[-1]).transpose(1, 2)
    for part in call.parts(rotary.encoding):
        own = part.batch
        here = _Here(
            q=q[own, :, part.first : part.last],
            v=v[own],
            keys=_rotated_keys(k[own], part, rotary, call),
            part=part,
            rotary=rotary,
            call=call,
            softmax=softmax,
        )
        for tile in part.tiles:
            out[own, :, part.first + tile.first : part.first + tile.last] = here.values(tile)
    return out


Keys = tuple[Tensor, int]
"""Rotated keys ``[b, g, n, d]``, and the index of the first."""


def _rotated_keys(k: Tensor, part: Part, rotary: Rotary, call: Call) -> Mapping[int, Keys]:
    """Of each region: rotated once for all its rows."""
    keys: dict[int, Keys] = {}
    for shared in part.keys:
        turn = call.key_turn(part, shared, rotary.first_channel, work_dtype(k.dtype))
        own = rotated(k[:, :, shared.start : shared.stop], turn)
        keys.update(dict.fromkeys(shared.regions, (own, shared.start)))
    return keys


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Here:
    """Attention of one part, tile by tile: ``q`` of its rows, ``v`` of all keys."""

    q: Tensor
    v: Tensor
    keys: Mapping[int, Keys]
    part: Part
    rotary: Rotary
    call: Call
    softmax: Softmax

    def values(self, tile: Tile) -> Tensor:
        """``[b, h, m, e]`` of a tile."""
        q = self.q[:, :, tile.first : tile.last]
        queries = {number: self._queries(q, tile, number) for number in tile.regions}
        merger = Merger(q, self.v.shape[-1])
        for piece in tile.pieces:
            first, last = piece.first - tile.first, piece.last - tile.first
            for partial in self._partials(piece, queries[piece.region][:, :, first:last]):
                merger.add(partial, first, last)
        return merger.result(self.softmax.sinks)

    def _queries(self, q: Tensor, tile: Tile, number: int) -> Tensor:
        dtype = work_dtype(q.dtype)
        turn = self.call.query_turn(self.part, number, self.rotary.first_channel, dtype)
        turn = None if turn is None else turn.rows(slice(tile.first, tile.last))
        return self.rotary.weighted(rotated(q, turn))

    def _partials(self, piece: Piece, q: Tensor) -> Iterator[Partial]:
        """What a piece's rows get from its keys: at once, or as its mask has room."""
        scale, biased = self.softmax.scale_of(self.q), self.part.encoding.biased
        if biased and (partial := self._by_distance(piece, q)) is not None:
            yield partial
        elif piece.shape is Shape.RAGGED or biased:
            heads = q.shape[1] if biased else 1
            width = max(1, cutting.SIZES.mask_numbers // (heads * q.shape[2]))
            for start in range(piece.start, piece.stop, width):
                share = replace(piece, start=start, stop=min(start + width, piece.stop))
                yield attend_lse(q, *self._read(share), scale=scale, seen=self._mask(share))
        elif piece.shape is Shape.SHRINKING:
            # Read backwards, a shrinking square is a growing one.
            backwards = (x.flip(2) for x in (q, *self._read(piece)))
            partial = attend_lse(*backwards, scale=scale, seen=Seen.TOP_LEFT)
            yield Partial(partial.out.flip(2), partial.lse.flip(2))
        else:
            seen = Seen.TOP_LEFT if piece.shape is Shape.GROWING else Seen.ALL
            yield attend_lse(q, *self._read(piece), scale=scale, seen=seen)

    def _by_distance(self, piece: Piece, q: Tensor) -> Partial | None:
        """What a piece's rows get under a bias of the distance; None where there is another."""
        if piece.shape is Shape.RAGGED or not self.part.encoding.biased_by_distance:
            return None
        scores = self._scores(piece)
        corner = int(scores.rows[0, 0, 0] - scores.keys[0, 0, 0])
        bias = falling_bias(
            self.rotary,
            scores,
            work_dtype(q.dtype),
            lowest=corner if piece.shape is Shape.GROWING else None,
            highest=corner if piece.shape is Shape.SHRINKING else None,
        )
        if bias is None:
            return None
        scale = self.softmax.scale_of(self.q)
        partial = attend_lse(q.flip(2), *self._read(piece), scale=scale, bias=bias)
        return Partial(partial.out.flip(2), partial.lse.flip(2))

    def _read(self, piece: Piece) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of a piece."""
        keys, start = self.keys[piece.region]
        own = keys[:, :, piece.start - start : piece.stop - start]
        return own, self.v[:, :, piece.start : piece.stop]

    def _mask(self, piece: Piece) -> Tensor:
        """Bool, or numbers to add: ``[b or 1, h or 1, m, n]`` of a piece."""
        part, sees = self.part, self._sees(piece)
        if not part.encoding.biased:
            return sees
        bias = self.rotary.bias(self._scores(piece))
        assert bias is not None  # or the encoding would not be biased
        return bias.masked_fill(~sees, float("-inf"))

    def _scores(self, piece: Piece) -> Block:
        part = self.part
        return Block(
            q=self.q[:, :, piece.first : piece.last],
            scale=self.softmax.scale_of(self.q),
            rows=part.query_index[None, piece.first : piece.last, None],
            keys=part.key_index[None, None, piece.start : piece.stop],
            batch=part.batch,
            queries=slice(part.first + piece.first, part.first + piece.last),
            key_range=slice(piece.start, piece.stop),
            all_queries=part.rows.query_index.shape[1],
        )

    def _sees(self, piece: Piece) -> Tensor:
        part, here = self.part, slice(piece.start, piece.stop)
        if part.bands is not None:
            keys = torch.arange(piece.start, piece.stop, device=self.q.device)
            band = part.bands[piece.region].rows(piece.first, piece.last)
            return ((band.start[:, None] <= keys) & (keys < band.stop[:, None]))[None, None]
        rows = part.query_index[piece.first : piece.last, None]
        covered = part.regions[piece.region].covers(rows, part.key_index[None, here])
        return covered & part.allowed(piece.first, piece.last)[..., here]
