"""Attention in blocks of rows, with gradients, softcap and dropout: what fused pieces lack.

A block is a run of consecutive rows with one L. One region goes to
``scaled_dot_product_attention``; several are one score matrix each, joined by the regions' masks
before the softmax.
"""

import torch
from torch import Tensor

from ropewalk.attention.call import Call, four_axes, runs
from ropewalk.attention.lse import by_group
from ropewalk.attention.rotary import Rotary, rotated
from ropewalk.attention.softmax import Softmax
from ropewalk.core.frequencies import Side
from ropewalk.core.rotation import work_dtype
from ropewalk.core.rows import Rows
from ropewalk.core.score_mods import Block

MOST_ROWS = 1024
"""Rows of a block."""
SCORES_AT_ONCE = 2**25
"""Scores of a block, which has fewer rows where keys are many: 128 MiB in float32."""


def attend_plain(
    q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, *, call: Call, softmax: Softmax
) -> Tensor:
    """Attention of un-rotated ``q`` ``[b, h, m, d]`` over ``k``, ``v`` ``[b, g, n, .]``."""
    encoding = rotary.encoding
    lengths, origins = call.lengths(encoding), call.origins(encoding)
    most = max(1, min(MOST_ROWS, SCORES_AT_ONCE // max(1, q.shape[1] * k.shape[2])))
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    for batch, start, end in runs((), lengths, origins):
        length = int(lengths[batch][0, start])
        origin = 0 if origins is None else int(origins[batch][0, start])
        keys: list[Tensor] = []
        # The last rows first: they see the most keys, which all rows of the run share.
        for first in reversed(range(start, end, most)):
            last = min(first + most, end)
            block = _Block(call.rows, batch, first, last, length, origin, rotary)
            keys = keys or block.rotated_keys(k[batch])
            here = (batch, slice(None), slice(block.first, block.last))
            out[here] = block.attend(q[here], keys, v[batch], softmax)
    return out


class _Block:
    """Rows ``first .. last - 1`` of some batch rows at one L, and the keys that they may see."""

    def __init__(
        self,
        rows: Rows,
        batch: slice,
        first: int,
        last: int,
        length: int,
        origin: int,
        rotary: Rotary,
    ) -> None:
        self.first, self.last = first, last
        self._rows, self._batch, self._rotary = rows, batch, rotary
        self._length, self._origin = length, origin
        self._stop, mask = rows.allowed(first, last)
        self._mask = mask[batch] if mask is not None and mask.ndim == 4 and len(mask) > 1 else mask
        index = rows.query_index[batch, first:last, None], rows.key_index[batch, None, : self._stop]
        self._query_index, self._key_index = index

    def rotated_keys(self, k: Tensor) -> list[Tensor]:
        """Those of ``k`` that the block may see, where each region shows them."""
        k, positions = k[:, :, : self._stop], self._rows.key_positions[self._batch, : self._stop]
        regions = self._rotary.encoding.position_map.regions
        return [self._rotated(k, Side.KEY, region.key_positions(positions)) for region in regions]

    def attend(self, q: Tensor, keys: list[Tensor], v: Tensor, softmax: Softmax) -> Tensor:
        """``[b, h, m, e]``; ``keys`` are rotated for each region, perhaps more than are seen."""
        scores, v = self._scores(q, softmax.scale_of(q)), v[:, :, : self._stop]
        keys = [each[:, :, : self._stop] for each in keys]
        terms, mask = self._rotary.encoding.value_terms, self._biased_mask(scores)
        if len(keys) == 1 and not terms:
            return softmax.attend(self._queries(q)[0], keys[0], v, mask)
        weights = softmax.weights(self._joined_products(q, keys), mask, q.shape[-1])
        out = by_group(weights.to(v.dtype), v)
        for term in terms:
            out = out + term.values(self._rotary.parameters, weights, scores).to(out.dtype)
        return out

    def _scores(self, q: Tensor, scale: float) -> Block:
        return Block(
            q=q,
            scale=scale,
            rows=self._query_index,
            keys=self._key_index,
            batch=self._batch,
            queries=slice(self.first, self.last),
            key_range=slice(0, self._stop),
            all_queries=self._rows.query_index.shape[1],
        )

    def _queries(self, q: Tensor) -> list[Tensor]:
        positions = self._rows.query_positions[self._batch, self.first : self.last]
        regions = self._rotary.encoding.position_map.regions
        rotated = (
            self._rotated(q, Side.QUERY, each.query_positions(positions)) for each in regions
        )
        return [self._rotary.weighted(each) for each in rotated]

    def _joined_products(self, q: Tensor, keys: list[Tensor]) -> Tensor:
        """Products ``[b, h, m, n]`` in float32 or float64, each pair from its own region."""
        regions = self._rotary.encoding.position_map.regions
        joined: Tensor | None = None
        for region, own, k in zip(regions, self._queries(q), keys, strict=True):
            products = by_group(own, k.transpose(-1, -2))
            products = products if products.dtype == torch.float64 else products.float()
            covered = region.covers(self._query_index, self._key_index)[:, None]
            joined = products if joined is None else torch.where(covered, products, joined)
        assert joined is not None  # a position map has at least one region
        return joined

    def _biased_mask(self, scores: Block) -> Tensor | None:
        """The mask, joined with the encoding's bias where it has one."""
        bias, mask = self._rotary.bias(scores), self._mask
        if bias is None:
            return mask
        return bias if mask is None else bias.masked_fill(~four_axes(mask), float("-inf"))

    def _rotated(self, x: Tensor, side: Side, positions: Tensor) -> Tensor:
        turn = self._rotary.encoding.turn(
            side,
            positions[:, None] - self._origin,
            self._length,
            first_channel=self._rotary.first_channel,
            dtype=work_dtype(x.dtype),
        )
        return rotated(x, turn)
