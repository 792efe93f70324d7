"""Fused attention of any number of regions: piece by piece, merged by log-sum-exp."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ropewalk.attention.lse import Partial, Seen, attend_lse, by_group
from ropewalk.attention.merge import Merger
from ropewalk.attention.plan import Part, plan_of
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.source import Keys, Source
from ropewalk.attention.tiles import Piece, Shape, Sizes, Tile
from ropewalk.attention.turns import Span
from ropewalk.core.encoding import Encoding
from ropewalk.core.rotation import work_dtype
from ropewalk.core.rows import Rows

SIZES = Sizes()


def attend_fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    source: Source,
    *,
    rows: Rows,
    softmax: Softmax,
) -> Tensor:
    """Attention of ``q`` ``[b, h, m, d]`` over ``k``, ``v`` ``[b, g, n, .]`` without gradient.

    ``source`` turns queries and keys; softcap and dropout are not applied.
    """
    batch, heads, count, _ = q.shape
    # Models ask for the values of all heads of a token side by side.
    out = q.new_empty(batch, count, heads, v.shape[-1]).transpose(1, 2)
    for part in plan_of(rows, encoding, heads, SIZES):
        own = part.batch
        call = _Call(
            q[own, :, part.first : part.last], k[own], v[own], part, encoding, source, softmax
        )
        for tile, span in part.tiles:
            first, last = part.first + tile.first, part.first + tile.last
            out[own, :, first:last] = call.values(tile, span)
    return out


class _Call:
    """Attention of one part, tile by tile."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        part: Part,
        encoding: Encoding,
        source: Source,
        softmax: Softmax,
    ) -> None:
        self.q, self.v, self.part = q, v, part
        self.encoding, self.source, self.softmax = encoding, source, softmax
        self.scale = softmax.scale_of(q)
        # A single row reads each key once.
        self.single = q.shape[2] == 1 and part.bands is not None
        self.keys: dict[int, Keys] = {}
        for shared in part.keys:
            keys = source.keys(k, shared, part.length)
            keys = keys if self.single else keys.turned()
            self.keys.update(dict.fromkeys(shared.regions, keys))

    def values(self, tile: Tile, span: Span) -> Tensor:
        """``[b, h, m, e]`` of a tile, whose queries stand at the positions ``span``."""
        q = self.q[:, :, tile.first : tile.last]
        queries = self._queries(q, tile, span)
        if self.single and tile.pieces:
            return self._one_row(tile, queries)
        merger = Merger(q, self.v.shape[-1])
        for piece in tile.pieces:
            first, last = piece.first - tile.first, piece.last - tile.first
            for partial in self._partials(piece, queries[piece.region][:, :, first:last]):
                merger.add(partial, first, last)
        return merger.result(self.softmax.sinks)

    def _queries(self, q: Tensor, tile: Tile, span: Span) -> Mapping[int, Tensor]:
        """Of each region that has a piece here, turned."""
        numbers = tile.regions
        if not numbers:
            return {}
        regions = tuple(self.part.regions[number] for number in numbers)
        turned = self.source.queries(q, span, regions, self.part.length)
        return dict(zip(numbers, turned, strict=True))

    def _one_row(self, tile: Tile, queries: Mapping[int, Tensor]) -> Tensor:
        """As ``values``, for one query over rectangles: few products, so taken plainly.

        Keys are turned as they are read, in parts that fit a cache.
        """
        first = min(piece.start for piece in tile.pieces)
        last = max(piece.stop for piece in tile.pieces)
        batch, heads, _, width = self.q.shape
        dtype = work_dtype(self.q.dtype)  # a product of half precision would be rounded to it
        scores = self.q.new_full((batch, heads, 1, last - first), float("-inf"), dtype=dtype)
        for piece in tile.pieces:
            keys, q = self.keys[piece.region], queries[piece.region]
            for start, stop, k in keys.turned_parts(piece.start, piece.stop, SIZES.keys_at_once):
                products = by_group(q.to(dtype), k.to(dtype).transpose(-1, -2))
                scores[..., start - first : stop - first] = products
        bias = self._bias(0, 1, first, last)
        return self.softmax.weigh(scores, self.v[:, :, first:last], bias, width)

    def _partials(self, piece: Piece, q: Tensor) -> Iterator[Partial]:
        """What a piece's rows get from its keys: at once, or as its mask has room."""
        if piece.shape is Shape.RAGGED or self.part.biased:
            heads = q.shape[1] if self.part.biased else 1
            width = max(1, SIZES.mask_numbers // (heads * q.shape[2]))
            for start in range(piece.start, piece.stop, width):
                share = replace(piece, start=start, stop=min(start + width, piece.stop))
                yield attend_lse(q, *self._read(share), scale=self.scale, seen=self._mask(share))
        elif piece.shape is Shape.SHRINKING:
            # Read backwards, a shrinking square is a growing one.
            backwards = (x.flip(2) for x in (q, *self._read(piece)))
            partial = attend_lse(*backwards, scale=self.scale, seen=Seen.TOP_LEFT)
            yield Partial(partial.out.flip(2), partial.lse.flip(2))
        else:
            seen = Seen.TOP_LEFT if piece.shape is Shape.GROWING else Seen.ALL
            yield attend_lse(q, *self._read(piece), scale=self.scale, seen=seen)

    def _read(self, piece: Piece) -> tuple[Tensor, Tensor]:
        """Turned keys and values of a piece."""
        keys = self.keys[piece.region].between(piece.start, piece.stop)
        return keys, self.v[:, :, piece.start : piece.stop]

    def _mask(self, piece: Piece) -> Tensor:
        """Bool, or numbers to add: ``[b or 1, h or 1, m, n]`` of a piece."""
        sees = self._sees(piece)
        bias = self._bias(piece.first, piece.last, piece.start, piece.stop)
        return sees if bias is None else bias.masked_fill(~sees, float("-inf"))

    def _bias(self, first: int, last: int, start: int, stop: int) -> Tensor | None:
        """``[1, h, m, n]`` of the rows ``first .. last - 1`` and the keys ``start .. stop - 1``."""
        if not self.part.biased:
            return None
        rows = self.part.query_positions[first:last, None]
        bias = self.encoding.bias(self.q.shape[1], rows, self.part.key_positions[None, start:stop])
        return None if bias is None else bias[None]

    def _sees(self, piece: Piece) -> Tensor:
        part, here = self.part, slice(piece.start, piece.stop)
        if part.bands is not None:
            keys = torch.arange(piece.start, piece.stop, device=self.q.device)
            band = part.bands[piece.region].rows(piece.first, piece.last)
            return ((band.start[:, None] <= keys) & (keys < band.stop[:, None]))[None, None]
        region = part.regions[piece.region]
        rows = part.query_positions[piece.first : piece.last, None]
        covered = region.covers(rows, part.key_positions[None, here])
        return covered & part.allowed(piece.first, piece.last)[..., here]
