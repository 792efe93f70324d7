"""Attention in blocks of rows, with gradients, softcap and dropout: what fused pieces lack.

A block is a run of consecutive rows with one L. One region goes to
``scaled_dot_product_attention``; several are one score matrix each, joined by the regions' masks
before the softmax.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.attention.call import Call, Run, four_axes, runs
from ropewalk.attention.lse import by_group
from ropewalk.attention.rotary import Rotary, rotated
from ropewalk.attention.softmax import Softmax
from ropewalk.core.frequencies import Side
from ropewalk.core.regions import Region
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
    regions = rotary.encoding.position_map.regions
    most = max(1, min(MOST_ROWS, SCORES_AT_ONCE // max(1, q.shape[1] * k.shape[2])))
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    for batch, start, end in runs((), lengths):
        run = _Run(rotary, call.rows, batch, int(lengths[batch][0, start]))
        stop, _ = call.rows.allowed(start, end)
        # Keys are rotated once for all rows of one L, in each region.
        keys = [run.keys(k[batch, :, :stop], region) for region in regions]
        for first in range(start, end, most):
            last = min(first + most, end)
            here = (batch, slice(None), slice(first, last))
            out[here] = _attend_block(q[here], keys, v[batch], run, (batch, first, last), softmax)
    return out


@dataclass(frozen=True, slots=True)
class _Run:
    """Some batch rows at one L."""

    rotary: Rotary
    rows: Rows
    batch: slice
    length: int

    def keys(self, k: Tensor, region: Region) -> Tensor:
        positions = region.key_positions(self.rows.key_positions[self.batch, : k.shape[2]])
        return self._rotated(k, Side.KEY, positions)

    def queries(self, q: Tensor, region: Region, first: int, last: int) -> Tensor:
        positions = region.query_positions(self.rows.query_positions[self.batch, first:last])
        return self.rotary.weighted(self._rotated(q, Side.QUERY, positions))

    def _rotated(self, x: Tensor, side: Side, positions: Tensor) -> Tensor:
        turn = self.rotary.encoding.turn(
            side,
            positions[:, None],
            self.length,
            first_channel=self.rotary.first_channel,
            dtype=work_dtype(x.dtype),
        )
        return rotated(x, turn)


def _attend_block(
    q: Tensor, keys: list[Tensor], v: Tensor, run: _Run, here: Run, softmax: Softmax
) -> Tensor:
    """``[b, h, m, e]`` of rows ``here``; ``keys`` rotated for each region."""
    batch, first, last = here
    stop, mask = run.rows.allowed(first, last)
    index = run.rows.query_index[batch, first:last, None], run.rows.key_index[batch, None, :stop]
    mask = _biased(mask, run, index, q.shape[1])
    regions = run.rotary.encoding.position_map.regions
    queries = (run.queries(q, region, first, last) for region in regions)
    v = v[:, :, :stop]
    if len(regions) == 1:
        return softmax.attend(next(queries), keys[0][:, :, :stop], v, mask)
    products = (
        (region.covers(*index)[:, None], _products(own, k[:, :, :stop]))
        for region, own, k in zip(regions, queries, keys, strict=True)
    )
    return softmax.weigh(_joined(products), v, mask, q.shape[-1])


def _biased(
    mask: Tensor | None, run: _Run, index: tuple[Tensor, Tensor], heads: int
) -> Tensor | None:
    """The mask of some batch rows, joined with the encoding's bias where it has one."""
    if mask is not None and mask.ndim == 4 and len(mask) > 1:
        mask = mask[run.batch]
    bias = run.rotary.encoding.bias(heads, *index)
    if bias is None:
        return mask
    bias = bias.transpose(0, 1)
    return bias if mask is None else bias.masked_fill(~four_axes(mask), float("-inf"))


def _products(q: Tensor, k: Tensor) -> Tensor:
    """``[b, h, m, n]`` in float32 or float64."""
    products = by_group(q, k.transpose(-1, -2))
    return products if products.dtype == torch.float64 else products.float()


def _joined(products: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """Each pair from the region that covers it: (covered ``[b, 1, m, n]``, ``[b, h, m, n]``)."""
    _, joined = next(products)
    for covered, each in products:
        joined = torch.where(covered, each, joined)
    return joined
