"""Attention in blocks of rows, with gradients, softcap and dropout: what fused pieces lack.

A block is a run of consecutive rows with one L. One region goes to
``scaled_dot_product_attention``; several are one score matrix each, joined by the regions' masks
before the softmax.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.attention.lse import by_group
from ropewalk.attention.softmax import Softmax
from ropewalk.core.encoding import Encoding
from ropewalk.core.regions import Region
from ropewalk.core.rotation import rotate
from ropewalk.core.rows import Rows

MOST_ROWS = 1024
"""Rows of a block."""
SCORES_AT_ONCE = 2**25
"""Scores of a block, which has fewer rows where keys are many: 128 MiB in float32."""


def attend_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    *,
    rows: Rows,
    softmax: Softmax,
    first_channel: int,
    channel_weights: Tensor | None,
) -> Tensor:
    """Attention of un-rotated ``q`` ``[b, h, m, d]`` over ``k``, ``v`` ``[b, g, n, .]``."""
    lengths = encoding.row_lengths(rows.length_positions, rows.sequence_lengths)
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    for batch, first, last in _runs_of_equal(lengths, _most_rows(q, k)):
        block = _Block(rows, batch, first, last)
        turner = _Turner(encoding, int(lengths[batch, first][0]), first_channel, channel_weights)
        here = (batch, slice(None), slice(first, last))
        out[here] = _attend_block(
            q[here], k[batch, :, : block.stop], v[batch, :, : block.stop],
            block, turner, softmax,
        )  # fmt: skip
    return out


def attend_turned_blocks(
    q: Tensor, k: Tensor, v: Tensor, encoding: Encoding, *, rows: Rows, softmax: Softmax
) -> Tensor:
    """The same of ``q`` and ``k`` that are turned already, of one region."""
    blocks, most = [], _most_rows(q, k)
    for first in range(0, q.shape[2], most):
        block = _Block(rows, slice(None), first, min(first + most, q.shape[2]))
        mask = block.biased_mask(encoding, q.shape[1])
        own = q[:, :, first : block.last]
        keys, values = k[:, :, : block.stop], v[:, :, : block.stop]
        blocks.append(softmax.attend(own, keys, values, mask))
    return torch.cat(blocks, dim=2)


class _Block:
    """Rows ``first .. last - 1`` of some batch rows, and the keys that they may see."""

    def __init__(self, rows: Rows, batch: slice, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.stop, mask = rows.allowed(first, last)
        if mask is not None and mask.ndim == 4 and len(mask) > 1:
            mask = mask[batch]
        self.mask = mask
        self.query_positions = rows.query_positions[batch, first:last]
        self.key_positions = rows.key_positions[batch, : self.stop]

    def biased_mask(self, encoding: Encoding, heads: int) -> Tensor | None:
        """The mask, joined with the encoding's bias where it has one."""
        bias = encoding.bias(heads, self.query_positions[..., None], self.key_positions[:, None, :])
        if bias is None:
            return self.mask
        bias = bias.transpose(0, 1)
        return bias if self.mask is None else bias.masked_fill(~self.mask, float("-inf"))


@dataclass(frozen=True, slots=True)
class _Turner:
    """An encoding at one context length."""

    encoding: Encoding
    length: int
    first_channel: int
    channel_weights: Tensor | None

    def turned(self, q: Tensor, k: Tensor, block: _Block, region: Region) -> tuple[Tensor, Tensor]:
        """Queries and keys of a block at a region's positions."""
        q = self._turn(q, region.query_positions(block.query_positions))
        k = self._turn(k, region.key_positions(block.key_positions))
        return q if self.channel_weights is None else q * self.channel_weights, k

    def _turn(self, x: Tensor, positions: Tensor) -> Tensor:
        frequencies = self.encoding.frequencies
        return rotate(
            x,
            frequencies.angles(positions, self.length)[:, None],
            pairing=self.encoding.geometry.pairing,
            first_channel=self.first_channel,
            factor=frequencies.attention_factor(self.length),
        )


def _attend_block(
    q: Tensor, k: Tensor, v: Tensor, block: _Block, turner: _Turner, softmax: Softmax
) -> Tensor:
    mask = block.biased_mask(turner.encoding, q.shape[1])
    regions = turner.encoding.position_map.regions
    if len(regions) == 1:
        q, k = turner.turned(q, k, block, regions[0])
        return softmax.attend(q, k, v, mask)
    return softmax.weigh(_joined_products(q, k, block, turner), v, mask, q.shape[-1])


def _joined_products(q: Tensor, k: Tensor, block: _Block, turner: _Turner) -> Tensor:
    """Products ``[b, h, m, n]`` in float32 or float64, each pair from its own region."""
    rows, keys = block.query_positions[..., None], block.key_positions[:, None, :]
    joined: Tensor | None = None
    for region in turner.encoding.position_map.regions:
        turned_q, turned_k = turner.turned(q, k, block, region)
        products = by_group(turned_q, turned_k.transpose(-1, -2))
        products = products if products.dtype == torch.float64 else products.float()
        covered = region.covers(rows, keys)[:, None]
        joined = products if joined is None else torch.where(covered, products, joined)
    assert joined is not None  # a position map has at least one region
    return joined


def _most_rows(q: Tensor, k: Tensor) -> int:
    return max(1, min(MOST_ROWS, SCORES_AT_ONCE // max(1, q.shape[1] * k.shape[2])))


def _runs_of_equal(lengths: Tensor, most: int) -> Iterator[tuple[slice, int, int]]:
    """Batch rows, first and last query of each run of equal lengths ``[b, m]``."""
    if bool((lengths == lengths[:1]).all()):
        for first, last in _runs(lengths[0].tolist(), most):
            yield slice(None), first, last
        return
    for b, own in enumerate(lengths.tolist()):
        for first, last in _runs(own, most):
            yield slice(b, b + 1), first, last


def _runs(lengths: list[int], most: int) -> Iterator[tuple[int, int]]:
    first = 0
    for index in range(1, len(lengths) + 1):
        ended = index == len(lengths) or lengths[index] != lengths[first]
        if ended or index - first == most:
            yield first, index
            first = index
