"""Attention of rows that see different context lengths, in blocks of rows.

A long run of rows with one L is turned once and goes to fused attention. Other rows are taken
together, some hundred at a time, whatever L each of them sees (``ropewalk.attention.expansion``):
a full pass at step 1 costs little more than one at step 32. A single row, as in decoding, turns
its keys a part at a time, right before they are multiplied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from ropewalk.attention.expansion import Chunk, Expansion, Room
from ropewalk.attention.softmax import Softmax
from ropewalk.core.encoding import Encoding, KeyStorage
from ropewalk.core.rotation import Turn, work_dtype
from ropewalk.core.rows import Rows

UNIFORM_ROWS = 256
"""Rows of one L that are worth fused attention."""
RUN_ROWS = 8
"""Rows of one L that are worth turned keys of their own: several terms for each cost more."""
BLOCK_ROWS, FUSED_ROWS = 128, 1024
"""Rows of different L taken together; rows of one L in one call of fused attention."""
SCORES_AT_ONCE = 2**24
"""Of a block of rows: 64 MiB in float32; blocks of many heads and keys have fewer rows for it."""
PAIRS_KEPT = 2**22
"""Rows times keys of a call whose parts are kept for the next layer: 48 MiB for 64 pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What decides how a call is cut and turned, besides its rows.

    heads, groups  of queries and of keys, of all batch rows together
    sigma          the architecture's softmax scale
    dtype          in which is turned
    """

    encoding: Encoding
    first_channel: int
    heads: int
    groups: int
    sigma: float
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Uniform:
    """Rows ``first .. last - 1`` of batch rows that are alike, all at one L, over ``stop`` keys.

    tau  ``[m, 1]``: multiplies the products of each row; None for ones
    """

    batch: slice
    first: int
    last: int
    stop: int
    queries: Turn
    keys: Turn
    tau: Tensor | None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        """These rows of a call; all its keys."""
        q, k = self.queries.of(q), self.keys.of(k[:, :, : self.stop])
        if self.tau is not None:
            q = (q.to(self.tau.dtype) * self.tau).to(q.dtype)
        blocks = []
        for first in range(self.first, self.last, FUSED_ROWS):
            last = min(first + FUSED_ROWS, self.last)
            stop, mask = _allowed(rows, self.batch, first, last)
            own = q[:, :, first - self.first : last - self.first]
            blocks.append(softmax.attend(own, k[:, :, :stop], v[:, :, :stop], mask))
        return torch.cat(blocks, dim=2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Mixed:
    """Rows ``first .. last - 1`` of batch rows that are alike, over ``stop`` keys.

    hidden  bool ``[b or 1, h or 1, m, stop]``: pairs that may not attend; None for none
    scale   ``[m, 1]``: sigma * tau of each row
    """

    batch: slice
    first: int
    last: int
    stop: int
    first_channel: int
    hidden: Tensor | None
    scale: Tensor
    chunks: tuple[Chunk, ...]
    room: Room

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, softmax: Softmax) -> Tensor:
        """These rows of a call; all its keys."""
        batch, heads, count, width = q.shape
        groups = k.shape[1]
        scores = self._scores(q.view(batch, groups, -1, count, width), k[:, :, : self.stop])
        if self.hidden is not None:
            # Not minus infinity: a row of padding, which sees nothing, has to stay finite.
            by_head = scores.view(batch, heads, count, self.stop)
            by_head.masked_fill_(self.hidden, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1).to(v.dtype)
        return (weights @ v[:, :, : self.stop]).view(batch, heads, count, -1)

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        """``q`` ``[b, g, h / g, m, d]``, ``k`` ``[b, g, n, d]`` -> ``[b, g, h / g * m, n]``."""
        waves = self.chunks[0].keys.cos
        turning = slice(self.first_channel, self.first_channel + waves.shape[-1])
        q = q.to(waves.dtype)  # a product of half precision would be rounded to it
        scores = q.new_empty(*q.shape[:2], q.shape[2] * q.shape[3], self.stop)
        for chunk in self.chunks:
            chunk.write_products(q[..., turning], k[..., turning], scores, self.room)
        for passing in (slice(turning.start), slice(turning.stop, None)):
            if k[..., passing].shape[-1]:
                own = (q[..., passing] * self.scale.to(q.dtype)).flatten(2, 3)
                scores += own @ k[..., passing].to(q.dtype).transpose(-1, -2)
        return scores


def applies(q: Tensor, k: Tensor, v: Tensor, encoding: Encoding, softmax: Softmax) -> bool:
    """Whether ``attend_varied`` can do it: one region, bare scores, no gradient wanted."""
    return (
        encoding.key_storage is KeyStorage.UNROTATED
        and len(encoding.position_map.regions) == 1
        and encoding.frequencies.proportional
        and softmax.bare(encoding, q, k, v)
    )


def attend_varied(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    encoding: Encoding,
    *,
    rows: Rows,
    softmax: Softmax,
    first_channel: int = 0,
) -> Tensor:
    """As ``attend``, where ``applies`` says so."""
    batch, heads, count, width = q.shape
    call = _Call(
        encoding=encoding,
        first_channel=first_channel,
        heads=batch * heads,
        groups=batch * k.shape[1],
        sigma=width**-0.5 if softmax.scale is None else softmax.scale,
        dtype=work_dtype(q.dtype),
    )
    # Without a cache, models hand over heads that lie apart: batched products would copy them.
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    few = count * k.shape[2] <= PAIRS_KEPT
    # Models ask for values of all heads of a token side by side.
    out = q.new_empty(batch, count, heads, v.shape[-1]).transpose(1, 2)
    for part in _kept_parts(rows, call) if few else _parts(rows, call):
        here = part.batch, slice(None), slice(part.first, part.last)
        out[here] = part.attend(q[here], k[part.batch], v[part.batch], rows, softmax)
    return out


@lru_cache(maxsize=2)
def _kept_parts(rows: Rows, call: _Call) -> tuple[_Uniform | _Mixed, ...]:
    """For all layers of one call, which ask with the same ``rows``, told apart by identity."""
    return tuple(_parts(rows, call))


def _parts(rows: Rows, call: _Call) -> Iterator[_Uniform | _Mixed]:
    lengths = call.encoding.row_lengths(rows.length_positions, rows.sequence_lengths)
    facts = (rows.query_positions, rows.key_positions, lengths)
    count, keys, room = len(lengths), rows.key_positions.shape[1], Room()
    alike = all(torch.equal(fact, fact[:1].expand_as(fact)) for fact in facts)
    most = min(max(SCORES_AT_ONCE // (call.heads * keys), 16), BLOCK_ROWS)
    for batch in [slice(0, count)] if alike else [slice(b, b + 1) for b in range(count)]:
        ones = torch.ones_like(lengths[batch][0], dtype=torch.float64)
        theta, factor = call.encoding.frequencies.angles_each(ones, lengths[batch][0])
        sequence = _Sequence(
            rows=rows, batch=batch, call=call, theta=theta, factor=factor, room=room
        )
        for first, last in _spans(theta, most):
            if last - first >= UNIFORM_ROWS:
                yield sequence.uniform(first, last)
            else:
                yield from sequence.mixed(first, last)


def _spans(theta: Tensor, most: int) -> Iterator[tuple[int, int]]:
    """Runs of rows of one frequency that are worth it; rows between them, ``most`` at a time."""
    changes = (theta.diff(dim=0) != 0).any(dim=1).nonzero().flatten() + 1
    bounds = [0, *changes.tolist(), len(theta)]
    waiting = 0
    for start, stop in pairwise(bounds):
        alone = stop - start >= RUN_ROWS
        short = start if alone else stop
        if alone or stop == len(theta):
            yield from ((at, min(at + most, short)) for at in range(waiting, short, most))
            waiting = stop
        if stop - start >= UNIFORM_ROWS:
            yield start, stop
        elif alone:
            yield from ((at, min(at + most, stop)) for at in range(start, stop, most))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sequence:
    """Batch rows that are alike, and what each of their queries sees.

    theta   float64 ``[m, f]``: radians a token
    factor  float64 ``[m, 1]``: attention factor
    """

    rows: Rows
    batch: slice
    call: _Call
    theta: Tensor
    factor: Tensor
    room: Room

    def uniform(self, first: int, last: int) -> _Uniform:
        stop, _ = self.rows.allowed(first, last)
        own, keys = self._positions(first, last, stop)
        theta, factor = self.theta[first], self.factor[first]
        tau = None
        if self.call.encoding.score_mods:
            tau = self._tau(first, last).to(self.call.dtype)
        return _Uniform(
            batch=self.batch,
            first=first,
            last=last,
            stop=stop,
            queries=self._turn(own[:, None] * theta, factor),
            keys=self._turn(keys[:, None] * theta, factor),
            tau=tau,
        )

    def mixed(self, first: int, last: int) -> Iterator[_Mixed]:
        """In halves where the rows' frequencies are too far apart for one block."""
        stop, mask = _allowed(self.rows, self.batch, first, last)
        own, keys = self._positions(first, last, stop)
        scale = self._tau(first, last) * self.call.sigma
        expansion = Expansion(
            query_positions=own,
            key_positions=keys,
            theta=self.theta[first:last],
            scale=(scale * self.factor[first:last] ** 2)[:, 0],
            heads=self.call.heads,
            groups=self.call.groups,
            pairing=self.call.encoding.geometry.pairing,
            dtype=self.call.dtype,
        )
        if expansion.rank() is None:
            middle = (first + last) // 2
            yield from self.mixed(first, middle)
            yield from self.mixed(middle, last)
            return
        yield _Mixed(
            batch=self.batch,
            first=first,
            last=last,
            stop=stop,
            first_channel=self.call.first_channel,
            hidden=None if mask is None else ~mask,
            scale=scale,
            chunks=tuple(expansion.chunks()),
            room=self.room,
        )

    def _positions(self, first: int, last: int, stop: int) -> tuple[Tensor, Tensor]:
        """Of queries ``[m]`` and keys ``[n]``, float64."""
        (region,) = self.call.encoding.position_map.regions
        queries = region.query_positions(self.rows.query_positions[self.batch][0, first:last])
        return queries, region.key_positions(self.rows.key_positions[self.batch][0, :stop])

    def _tau(self, first: int, last: int) -> Tensor:
        positions = self.rows.query_positions[self.batch][0, first:last]
        return self.call.encoding.query_scale(positions)[:, None]

    def _turn(self, angles: Tensor, factor: Tensor) -> Turn:
        return Turn.by(
            angles,
            pairing=self.call.encoding.geometry.pairing,
            first_channel=self.call.first_channel,
            factor=factor,
            dtype=self.call.dtype,
        )


def _allowed(rows: Rows, batch: slice, first: int, last: int) -> tuple[int, Tensor | None]:
    """As ``Rows.allowed``, of some batch rows, with a mask of four dimensions."""
    stop, mask = rows.allowed(first, last)
    if mask is None:
        return stop, None
    mask = mask[(None,) * (4 - mask.ndim)]
    return stop, mask[batch] if len(mask) > 1 else mask
