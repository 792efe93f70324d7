"""Products of rows that see different frequencies, as matrix products.

Row m turns pair i by theta_i(m) radians a token. Keys are taken in blocks around a position c,
rows in blocks around frequencies theta. With j = n - c and delta = theta(m) - theta,

    q_m conj(k_n) e^(i (m - n) theta(m))
        =  q_m e^(i (m - c) theta(m))  conj(k_n e^(i j theta))  e^(-i j delta)
    e^(-i j delta)
        =  sum over r < R of  (-i delta J)^r  (j / J)^r / r!

where |j| <= J. So each row has R queries, each key R copies of itself, and all rows of a block one
matrix product with R times the channels. R is the least for which the first term left out,
(J delta)^R / R!, is below a quarter of the rounding of the dtype: the sum is as exact as a product
taken row by row. Rows that see the same frequencies have delta = 0 and R = 1.

Angles of a query are taken once for each block of keys, and those of keys once for all blocks:
few cosines, however many rows and keys there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import factorial, prod

import torch
from torch import Tensor

from ropewalk.core.geometry import Pairing
from ropewalk.core.rotation import Turn

LARGEST_RANK = 14
"""Rows that need more are split into blocks that see more similar frequencies."""
EASY_REACH = 0.02
"""J delta, in radians, up to which blocks of keys grow: four terms suffice in float32."""
LEAST_KEYS, MOST_KEYS = 64, 2048
"""Keys of a block: the fewer, the more queries are turned; the more, the more terms it takes."""
NUMBERS_AT_ONCE, NUMBERS_AT_ONCE_ELSEWHERE = 2**20, 2**26
"""Of turned copies of queries or keys: on a CPU, so that they are multiplied while they are in a
cache; elsewhere, so that they fit into memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Keys ``start <= n < stop``, as ``blocks`` of equally many, ``at_once`` turned together.

    terms    R
    queries  turns ``[.., blocks, h / g, m, 2f]``, with all that multiplies a row's products
    onward   turns ``[.., m, 2f]``: each of a row's R queries into the next
    keys     turns ``[.., blocks or 1, keys, R, 2f]``
    """

    start: int
    stop: int
    blocks: int
    at_once: int
    terms: int
    queries: Turn
    onward: Turn
    keys: Turn

    def write_products(self, q: Tensor, k: Tensor, scores: Tensor, room: "Room") -> None:
        """Those of ``q`` ``[b, g, h / g, m, 2f]`` and ``k`` ``[b, g, n, 2f]``, of its keys.

        scores  ``[b, g, h / g * m, n]``, of the dtype of ``q``
        """
        k = k[:, :, self.start : self.stop]
        k = k.view(*k.shape[:2], self.blocks, -1, k.shape[3])
        scores = scores[..., self.start : self.stop]
        scores = scores.view(*scores.shape[:-1], self.blocks, -1)
        queries = self._queries_of(q).flatten(-2).flatten(3, 4)
        space = room.of(q, (*k.shape[:2], self.at_once, k.shape[3], self.terms, k.shape[4]))
        for first in range(0, self.blocks, self.at_once):
            own = slice(first, min(first + self.at_once, self.blocks))
            turned = space[:, :, : own.stop - first]
            self._keys_of(own).write(k[:, :, own, :, None].to(q.dtype), turned)
            products = queries[:, :, own] @ turned.flatten(-2).transpose(-1, -2)
            scores[..., own, :] = products.transpose(2, 3)

    def _queries_of(self, q: Tensor) -> Tensor:
        """``[b, g, blocks, h / g, m, R, 2f]``."""
        batch, groups, *rest = q.shape
        queries = q.new_empty(batch, groups, self.blocks, *rest[:-1], self.terms, rest[-1])
        self.queries.write(q[:, :, None], queries[..., 0, :])
        for term in range(1, self.terms):
            self.onward.write(queries[..., term - 1, :], queries[..., term, :])
        return queries

    def _keys_of(self, blocks: slice) -> Turn:
        if len(self.keys.cos) == 1:
            return self.keys
        return replace(self.keys, cos=self.keys.cos[blocks], sin=self.keys.sin[blocks])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expansion:
    """How the rows of a block and its keys are turned.

    query_positions  float64 ``[m]``
    key_positions    float64 ``[n]``
    theta            float64 ``[m, f]``: radians a token of each row
    scale            float64 ``[m]``: multiplies the products of a row
    heads, groups    of queries and of keys, of all batch rows together
    """

    query_positions: Tensor
    key_positions: Tensor
    theta: Tensor
    scale: Tensor
    heads: int
    groups: int
    pairing: Pairing
    dtype: torch.dtype

    @property
    def middle(self) -> Tensor:
        """``[f]``: the frequencies from which delta is counted."""
        return (self.theta.amax(dim=0) + self.theta.amin(dim=0)) / 2

    @property
    def spread(self) -> float:
        """The largest delta, in radians a token."""
        return float((self.theta - self.middle).abs().max())

    def block_keys(self) -> int:
        """Keys of a block."""
        size, spread, numbers = MOST_KEYS, self.spread, self.groups * 2 * self.theta.shape[1]
        while size > LEAST_KEYS and (
            spread * size / 2 > EASY_REACH or numbers * size > self._at_once
        ):
            size //= 2
        return size

    def rank(self) -> int | None:
        """R; None where it would be too large."""
        size, count = self.block_keys(), len(self.key_positions)
        reach = max(
            offsets_of(self.key_positions[start:stop], blocks)[1]
            for start, stop, blocks in _cuts(count, size, count)
        )
        return rank(reach * self.spread, self.dtype)

    def chunks(self) -> Iterator[Chunk]:
        """All keys."""
        terms = self.rank()
        assert terms is not None
        size, (rows, pairs) = self.block_keys(), self.theta.shape
        width = terms * 2 * pairs
        blocks = max(1, self._at_once // (self.heads * rows * width))
        at_once = max(1, self._at_once // (self.groups * size * width))
        for start, stop, parts in _cuts(len(self.key_positions), size, blocks * size):
            yield self._chunk(start, stop, parts, min(at_once, parts), terms)

    def _chunk(self, start: int, stop: int, blocks: int, at_once: int, terms: int) -> Chunk:
        positions = self.key_positions[start:stop]
        offsets, reach = offsets_of(positions, blocks)
        centres = positions.view(blocks, -1) - offsets
        reach = max(reach, 1.0)
        from_centre = self.query_positions - centres[:, :1]
        onward = torch.complex(torch.zeros_like(self.theta), (self.middle - self.theta) * reach)
        queries = _wave(from_centre[..., None] * self.theta) * self.scale[:, None]
        if bool((offsets == offsets[:1]).all()):
            offsets = offsets[:1]
        keys = _wave(offsets[..., None] * self.middle)
        shares = torch.stack([(offsets / reach) ** r / factorial(r) for r in range(terms)], dim=-1)
        return Chunk(
            start=start,
            stop=stop,
            blocks=blocks,
            at_once=at_once,
            terms=terms,
            queries=self._turn(queries[:, None]),
            onward=self._turn(onward),
            keys=self._turn(keys[..., None, :] * shares[..., None]),
        )

    @property
    def _at_once(self) -> int:
        here = self.theta.device.type == "cpu"
        return NUMBERS_AT_ONCE if here else NUMBERS_AT_ONCE_ELSEWHERE

    def _turn(self, wave: Tensor) -> Turn:
        return Turn.of_wave(wave, pairing=self.pairing, first_channel=0, dtype=self.dtype)


class Room:
    """Memory that all layers of a call use in turn: fresh memory costs more than turning does."""

    def __init__(self) -> None:
        self._numbers: Tensor | None = None

    def of(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A tensor whose numbers mean nothing, good until the next is asked for."""
        count = prod(shape)
        if self._numbers is None or len(self._numbers) < count:
            self._numbers = like.new_empty(count)
        return self._numbers[:count].view(shape)


def rank(reach: float, dtype: torch.dtype) -> int | None:
    """R for J delta = ``reach`` radians; None where it would be larger than allowed."""
    bound = torch.finfo(dtype).eps / 4
    fits = (r for r in range(1, LARGEST_RANK + 1) if reach**r / factorial(r) <= bound)
    return next(fits, None)


def _cuts(count: int, size: int, most: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, blocks) of runs of whole blocks, at most ``most`` keys; then the rest."""
    whole = count // size * size
    for start in range(0, whole, most):
        stop = min(start + most, whole)
        yield start, stop, (stop - start) // size
    if whole < count:
        yield whole, count, 1


def offsets_of(positions: Tensor, blocks: int) -> tuple[Tensor, float]:
    """j ``[blocks, keys]`` from the middle of each block, and J."""
    apart = positions.view(blocks, -1)
    offsets = apart - apart[:, apart.shape[1] // 2, None]
    return offsets, float(offsets.abs().max())


def _wave(angles: Tensor) -> Tensor:
    return torch.complex(angles.cos(), angles.sin())
