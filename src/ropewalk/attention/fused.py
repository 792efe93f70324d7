"""Fused attention of any number of regions: piece by piece, merged by log-sum-exp."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.attention import call as cutting
from ropewalk.attention.call import Call, Part
from ropewalk.attention.distances import DistanceBias
from ropewalk.attention.lse import Partial, Seen
from ropewalk.attention.merge import Merger
from ropewalk.attention.rotary import Rotary, rotated
from ropewalk.attention.shares import Order, Share
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiles import Piece, Shape, Tile
from ropewalk.core.rotation import Turn, work_dtype
from ropewalk.core.score_mods import Block


def attend_fused(
    q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, *, call: Call, softmax: Softmax
) -> Tensor:
    """Attention of ``q`` ``[b, h, m, d]`` over ``k``, ``v`` ``[b, g, n, .]`` without gradient.

    Softcap and dropout are not applied.
    """
    bias = DistanceBias.of(rotary, call, q)
    if bias is not None and rotary.encoding.frequencies is None:
        bias = bias.certain(q, k, softmax.scale_of(q))
    parts = fused_parts(q, k, v, rotary, call=call, softmax=softmax, bias=bias)
    return merged_attention(q, v, parts).out


def merged_attention(q: Tensor, v: Tensor, parts: "Iterator[FusedPart]") -> Partial:
    """As ``attend_fused``, with the log-sum-exp ``[b, h, m]`` of each row, float32 or float64.

    parts  ``fused_parts`` of the call
    """
    batch, heads, count, _ = q.shape
    # Models ask for the values of all heads of a token side by side.
    out = q.new_empty(batch, count, heads, v.shape[-1]).transpose(1, 2)
    lse = q.new_empty(batch, heads, count, dtype=work_dtype(q.dtype))
    for here in parts:
        own, first = here.part.batch, here.part.first
        for tile in here.part.tiles:
            rows = slice(first + tile.first, first + tile.last)
            merged = here.merged(tile)
            out[own, :, rows], lse[own, :, rows] = merged.out, merged.lse
    return Partial(out, lse)


def fused_parts(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rotary: Rotary,
    *,
    call: Call,
    softmax: Softmax,
    bias: DistanceBias | None,
) -> "Iterator[FusedPart]":
    """The rows of a call, cut, with their keys rotated.

    bias  ``DistanceBias.of`` the layer
    """
    for part in call.parts(rotary.encoding):
        own = part.batch
        yield FusedPart(
            q=q[own, :, part.first : part.last],
            v=v[own],
            keys=_rotated_keys(k[own], part, rotary, call),
            part=part,
            rotary=rotary,
            call=call,
            softmax=softmax,
            bias=bias,
        )


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
class FusedPart:
    """Attention of one part, tile by tile: ``q`` of its rows, ``v`` of all keys."""

    q: Tensor
    v: Tensor
    keys: Mapping[int, Keys]
    part: Part
    rotary: Rotary
    call: Call
    softmax: Softmax
    bias: DistanceBias | None

    @property
    def scale(self) -> float:
        """sigma."""
        return self.softmax.scale_of(self.q)

    def merged(self, tile: Tile) -> Partial:
        """What the rows of a tile get from all keys: ``[b, h, m, e]`` and ``[b, h, m]``."""
        queries = {number: self.queries(tile, number) for number in tile.regions}
        merger = Merger(self.q[:, :, tile.first : tile.last], self.v.shape[-1])
        for share in self.shares(tile):
            first, last = share.first - tile.first, share.last - tile.first
            q = queries[share.region][:, :, first:last]
            merger.add(share.attend(q, *self.read(share), self.scale), first, last)
        return merger.result(self.softmax.sinks)

    def query_turn(self, tile: Tile, number: int) -> Turn | None:
        """How the queries of a tile are rotated in region ``number``."""
        dtype = work_dtype(self.q.dtype)
        turn = self.call.query_turn(self.part, number, self.rotary.first_channel, dtype)
        return None if turn is None else turn.rows(slice(tile.first, tile.last))

    def queries(self, tile: Tile, number: int) -> Tensor:
        """Those of a tile, as region ``number`` rotates them."""
        q = self.q[:, :, tile.first : tile.last]
        return self.rotary.weighted(rotated(q, self.query_turn(tile, number)))

    def read(self, share: Share) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of a share."""
        keys, start = self.keys[share.region]
        own = keys[:, :, share.start - start : share.stop - start]
        return own, self.v[:, :, share.start : share.stop]

    def shares(self, tile: Tile) -> Iterator[Share]:
        """Of each piece of a tile: at once, or as its mask has room."""
        for piece in tile.pieces:
            yield from self._shares(piece)

    def _shares(self, piece: Piece) -> Iterator[Share]:
        biased = self.part.encoding.biased
        whole = Share(
            region=piece.region,
            first=piece.first,
            last=piece.last,
            start=piece.start,
            stop=piece.stop,
        )
        if piece.shape is Shape.DIAGONAL:
            assert self.bias is not None  # or the piece would have another shape
            numbers = self.bias.falling(piece, self.part)
            number = self.bias.start(piece, self.part)
            yield replace(whole, bias=numbers, number=number, order=Order.FALLING_ROWS)
        elif piece.shape is Shape.RAGGED or biased:
            heads = self.q.shape[1] if biased else 1
            width = max(1, cutting.SIZES.mask_numbers // (heads * (piece.last - piece.first)))
            for start in range(piece.start, piece.stop, width):
                some = replace(piece, start=start, stop=min(start + width, piece.stop))
                seen = self._mask(some)
                yield replace(whole, start=some.start, stop=some.stop, seen=seen)
        elif piece.shape is Shape.SHRINKING:
            # Read backwards, a shrinking square is a growing one.
            yield replace(whole, seen=Seen.TOP_LEFT, order=Order.FALLING)
        elif piece.shape is Shape.GROWING:
            yield replace(whole, seen=Seen.TOP_LEFT)
        else:
            yield whole

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
            scale=self.scale,
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
