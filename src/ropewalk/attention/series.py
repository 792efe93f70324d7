"""Products of one row with keys that were turned at another L.

The row sees theta, keys were turned at theta - delta. They are taken in blocks around a position
c: with j = n - c,

    q conj(k_n) e^(i (m - n) theta)
        =  q e^(i (m theta - c delta))  conj(k_n e^(i n (theta - delta)))  e^(-i j delta)
    e^(-i j delta)
        =  sum over r < R of  (-i delta J)^r / r!  (j / J)^r

where |j| <= J. So a row has R queries for each block, and keys are read once, as they are. R is
the least for which the first term left out is below a quarter of the rounding of the dtype
(``ropewalk.attention.expansion.rank``). The sum over r is Horner's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.attention.expansion import offsets_of, rank
from ropewalk.core.geometry import Pairing
from ropewalk.core.rotation import Turn

BLOCK_KEYS = 256
"""Keys of a block: the fewer, the shorter the series; the more, the fewer queries are turned."""
MOST_TERMS = 6
"""With more, products cost about what turning all keys costs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """What all layers share.

    queries  turns ``[b, 1, blocks, R, 1, 2f]``
    shares   j / J ``[b, 1, blocks, 1, keys]``
    """

    queries: Turn
    shares: Tensor

    @classmethod
    def of(
        cls,
        *,
        query: Tensor,
        keys: Tensor,
        theta: Tensor,
        delta: Tensor,
        factor: Tensor,
        pairing: Pairing,
        first_channel: int,
        dtype: torch.dtype,
    ) -> "Series | None":
        """For a row at ``query`` ``[b]`` over keys at ``keys`` ``[b, n]``, all in float64.

        theta, delta  ``[b, f]``
        factor        ``[b, 1]``: multiplies the channels that turn

        None where it would take more than ``MOST_TERMS``.
        """
        blocks = _in_blocks(keys)
        offsets, reach = offsets_of(blocks, blocks.shape[0] * blocks.shape[1])
        offsets, reach = offsets.view(blocks.shape), max(reach, 1.0)
        count = rank(float(delta.abs().max()) * reach, dtype)
        if count is None or count > MOST_TERMS:
            return None
        centres = blocks[..., :1] - offsets[..., :1]
        angles = (query[:, None] * theta)[:, None] - centres * delta[:, None]
        onward = torch.complex(torch.zeros_like(delta), -delta * reach)[:, None]
        waves = [torch.polar(factor[:, None].expand_as(angles), angles)]
        for r in range(1, count):
            waves.append(waves[-1] * onward / r)
        wave = torch.stack(waves, dim=2)[:, None, :, :, None]
        return cls(
            queries=Turn.of_wave(wave, pairing=pairing, first_channel=first_channel, dtype=dtype),
            shares=(offsets / reach).to(dtype)[:, None, :, None],
        )

    def products(self, q: Tensor, keys: Tensor) -> Tensor:
        """``q`` ``[b, g, h / g, d]``, ``keys`` ``[b, g, n, d]`` -> ``[b, g, h / g, n]``.

        n is that of whole blocks, and the keys lie densely.
        """
        batch, groups, rows, width = q.shape
        blocks, count = self.queries.cos.shape[2:4]
        queries = self._queries(q)
        blocked = keys.view(-1, BLOCK_KEYS, width).to(queries.dtype)
        sums = torch.bmm(queries.view(len(blocked), -1, width), blocked.transpose(1, 2))
        sums = sums.view(batch, groups, blocks, count, rows, BLOCK_KEYS)
        total = sums[..., count - 1, :, :]
        for r in range(count - 2, 0, -1):
            total = torch.addcmul(sums[..., r, :, :], total, self.shares)
        out = sums.new_empty(batch, groups, rows, blocks, BLOCK_KEYS)
        if count == 1:
            out.transpose(2, 3).copy_(total)
        else:
            torch.addcmul(sums[..., 0, :, :], total, self.shares, out=out.transpose(2, 3))
        return out.flatten(3)

    def _queries(self, q: Tensor) -> Tensor:
        """``[b, g, blocks, R, h / g, d]``, in which products are taken."""
        turn = self.queries
        blocks, count = turn.cos.shape[2:4]
        q = q[:, :, None, None].to(turn.cos.dtype)
        queries = q.new_empty(*q.shape[:2], blocks, count, *q.shape[4:])
        turn.write(q, queries)
        first, last = turn.first_channel, turn.first_channel + turn.cos.shape[-1]
        # What does not turn has no part in the terms after the first.
        queries[:, :, :, 1:, :, :first], queries[:, :, :, 1:, :, last:] = 0, 0
        return queries


def reaches(spread: float, dtype: torch.dtype) -> bool:
    """Whether a series does for frequencies so many radians a token apart, and keys in order."""
    count = rank(spread * BLOCK_KEYS / 2, dtype)
    return count is not None and count <= MOST_TERMS


def whole(keys: int) -> int:
    """``keys``, filled up to whole blocks."""
    return keys + -keys % BLOCK_KEYS


def _in_blocks(keys: Tensor) -> Tensor:
    """``[b, n]`` -> ``[b, blocks, keys]``; the last position again where keys are missing."""
    missing = whole(keys.shape[1]) - keys.shape[1]
    filled = torch.cat([keys, keys[:, -1:].expand(-1, missing)], dim=1)
    return filled.view(len(keys), -1, BLOCK_KEYS)
