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

MOST_ROWS = 1024
"""Rows of a block."""
SCORES_AT_ONCE = 2**25
"""Scores of a block, which has fewer rows where keys are many: 128 MiB in float32."""


def attend_plain(
    q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, *, call: Call, softmax: Softmax
) -> Tensor:
    """Attention of un-rotated ``q`` ``[b, h, m, d]`` over ``k``, ``v`` ``[b, g, n, .]``."""
    lengths = call.lengths(rotary.encoding)
    most = max(1, min(MOST_ROWS, SCORES_AT_ONCE // max(1, q.shape[1] * k.shape[2])))
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    for batch, start, end in runs((), lengths):
        length = int(lengths[batch][0, start])
        keys: list[Tensor] = []
        # The last rows first: they see the most keys, which all rows of the run share.
        for first in reversed(range(start, end, most)):
            block = _Block(call.rows, batch, first, min(first + most, end), length, rotary)
            keys = keys or block.rotated_keys(k[batch])
            here = (batch, slice(None), slice(block.first, block.last))
            out[here] = block.attend(q[here], keys, v[batch], softmax)
    return out


class _Block:
    """Rows ``first .. last - 1`` of some batch rows at one L, and the keys that they may see."""

    def __init__(
        self, rows: Rows, batch: slice, first: int, last: int, length: int, rotary: Rotary
    ) -> None:
        self.first, self.last = first, last
        self._rows, self._batch, self._length, self._rotary = rows, batch, length, rotary
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
        mask, v = self._biased_mask(q.shape[1]), v[:, :, : self._stop]
        keys = [each[:, :, : self._stop] for each in keys]
        if len(keys) == 1:
            return softmax.attend(self._queries(q)[0], keys[0], v, mask)
        return softmax.weigh(self._joined_products(q, keys), v, mask, q.shape[-1])

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

    def _biased_mask(self, heads: int) -> Tensor | None:
        """The mask, joined with the encoding's bias where it has one."""
        bias = self._rotary.encoding.bias(heads, self._query_index, self._key_index)
        if bias is None:
            return self._mask
        bias, mask = bias.transpose(0, 1), self._mask
        return bias if mask is None else bias.masked_fill(~four_axes(mask), float("-inf"))

    def _rotated(self, x: Tensor, side: Side, positions: Tensor) -> Tensor:
        turn = self._rotary.encoding.turn(
            side,
            positions[:, None],
            self._length,
            first_channel=self._rotary.first_channel,
            dtype=work_dtype(x.dtype),
        )
        return rotated(x, turn)
