"""Attention of any encoding, in blocks of rows that see one context length.

A block is a run of consecutive rows with one L. Where the keys' L is settled at birth they
are turned once; where a key sees its reader's L, the keys are turned again for each block.
One region goes to ``scaled_dot_product_attention``; several regions take the plain path:
one score matrix a region, joined by the regions' masks before the softmax.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.attention.shapes import check_shapes
from ropewalk.attention.softmax import Softmax
from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.regions import Region
from ropewalk.core.rotation import rotate
from ropewalk.core.rows import CausalRows, Rows
from ropewalk.core.turning import turn

BLOCK_ROWS = 1024


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    *,
    rows: Rows | None = None,
    softmax_scale: float | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    dropout: float = 0.0,
    first_channel: int = 0,
    channel_weights: Tensor | None = None,
) -> Tensor:
    """Attention of un-rotated ``q`` ``[b, h, m, d]`` over un-rotated ``k`` ``[b, g, n, d]``.

    g divides h: query head i reads key head i // (h / g). ``v`` is ``[b, g, n, e]``; the
    result ``[b, h, m, e]`` has the dtype of ``q``. A row that may see no key (padding) is
    finite and meaningless.

    rows           by default the last m of n tokens, causal, without padding
    softmax_scale, softcap, sinks, dropout  the architecture's: see ``Softmax``
    first_channel    where the rotary channels start in a head
    channel_weights  ``[d]``: multiply a product channel by channel, after turning

    Under a policy that settles keys at birth, all keys count as written by this call.
    Raises RopewalkError for shapes that do not fit.
    """
    check_shapes(q, k, v)
    softmax = Softmax(scale=softmax_scale, softcap=softcap, sinks=sinks, dropout=dropout)
    rows = rows or CausalRows.of(q.shape[0], q.shape[2], k.shape[2], q.device)
    lengths = encoding.row_lengths(rows.length_positions, rows.sequence_lengths)
    if encoding.key_storage is KeyStorage.ROTATED:
        (region,) = encoding.position_map.regions
        q = turn(q, region.query_positions(rows.query_positions), lengths, encoding, first_channel)
        born = _birth_lengths(encoding, rows)
        k = turn(k, region.key_positions(rows.key_positions), born, encoding, first_channel)
        q = q if channel_weights is None else q * channel_weights
        return attend_turned(q, k, v, encoding, rows=rows, softmax=softmax)
    q = _scaled(q, encoding, rows)
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    for batch, first, last in _runs_of_equal(lengths):
        block = _Block(rows, batch, first, last)
        turner = _Turner(encoding, int(lengths[batch, first][0]), first_channel, channel_weights)
        here = (batch, slice(None), slice(first, last))
        attended = _attend_block(
            q[here], k[batch, :, : block.stop], v[batch, :, : block.stop],
            block, turner, softmax,
        )  # fmt: skip
        out[here] = attended
    return out


def attend_turned(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    *,
    rows: Rows,
    softmax: Softmax,
) -> Tensor:
    """As ``attend``, for one-region encodings whose q and k are turned already."""
    q = _scaled(q, encoding, rows)
    blocks = []
    for first in range(0, q.shape[2], BLOCK_ROWS):
        block = _Block(rows, slice(None), first, min(first + BLOCK_ROWS, q.shape[2]))
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
        turned_k = turned_k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        products = turned_q @ turned_k.transpose(-1, -2)
        products = products if products.dtype == torch.float64 else products.float()
        covered = region.covers(rows, keys)[:, None]
        joined = products if joined is None else torch.where(covered, products, joined)
    assert joined is not None  # a position map has at least one region
    return joined


def _runs_of_equal(lengths: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Batch rows, first and last query of each run of equal lengths ``[b, m]``."""
    if bool((lengths == lengths[:1]).all()):
        for first, last in _runs(lengths[0].tolist()):
            yield slice(None), first, last
        return
    for b, own in enumerate(lengths.tolist()):
        for first, last in _runs(own):
            yield slice(b, b + 1), first, last


def _runs(lengths: list[int]) -> Iterator[tuple[int, int]]:
    first = 0
    for index in range(1, len(lengths) + 1):
        ended = index == len(lengths) or lengths[index] != lengths[first]
        if ended or index - first == BLOCK_ROWS:
            yield first, index
            first = index


def _birth_lengths(encoding: Encoding, rows: Rows) -> Tensor:
    """L ``[b, n]`` of keys that this call writes, settled for good."""
    if encoding.row_dependent:
        return encoding.length_policy.birth_lengths(rows.key_positions, rows.sequence_lengths)
    return encoding.row_lengths(rows.key_positions, rows.sequence_lengths)


def _scaled(q: Tensor, encoding: Encoding, rows: Rows) -> Tensor:
    if not encoding.score_mods:
        return q
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    scale = encoding.query_scale(rows.query_positions).to(dtype)[:, None, :, None]
    return (q.to(dtype) * scale).to(q.dtype)
