"""Which pieces of attention cover the bands of a call, so that few of them need a mask.

A band gives each row consecutive keys, ``start <= n < stop``, and neither bound falls from row
to row. A tile is a run of rows; inside it, a band is a rectangle that every row sees whole, with
an edge where its start rises and one where its stop does. Edges that move by one key a row, as
causal and sliding ones do, are half a square, which a causal kernel computes without a mask; only
other edges need one. A band narrower than its tile is cut into fewer rows.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How finely to cut.

    tile_rows     rows of a tile: kernels slow down below a few hundred, and memory grows with them
    masked_rows   rows of a tile whose pieces all take masks
    least_rows    tiles and bands are not cut into fewer rows, but masked
    strip_rows    rows whose masks are looked at together: so much of a mask fits a cache
    mask_numbers  numbers of a mask that are held at once
    """

    tile_rows: int = 1024
    masked_rows: int = 256
    least_rows: int = 64
    strip_rows: int = 256
    mask_numbers: int = 2**21


class Shape(Enum):
    """Which keys of a piece its rows see."""

    RECTANGLE = "all"
    GROWING = "row i of the piece its keys 0 .. i"
    SHRINKING = "row i of the piece its keys i and up"
    DIAGONAL = "all keys, or from one distance on, or up to one"
    RAGGED = "what a mask says"


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Keys ``start <= n < stop`` of each row: indices, int64 ``[m]``, neither ever falling.

    A row with ``start`` at or after ``stop`` sees none.
    """

    start: Tensor
    stop: Tensor

    def rows(self, first: int, last: int) -> "Band":
        return Band(self.start[first:last], self.stop[first:last])

    @property
    def keys(self) -> tuple[int, int]:
        """First key, and last key plus 1, of all rows together."""
        first, last = int(self.start[0]), int(self.stop[-1])
        return first, max(first, last)


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``first .. last - 1`` over keys ``start .. stop - 1`` of one region."""

    region: int
    first: int
    last: int
    start: int
    stop: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows ``first .. last - 1`` and the pieces that they consist of."""

    first: int
    last: int
    pieces: tuple[Piece, ...]

    @property
    def regions(self) -> tuple[int, ...]:
        """Numbers of those that have a piece here."""
        return tuple(sorted({piece.region for piece in self.pieces}))


def tiles_of(bands: Sequence[Band], sizes: Sizes) -> Iterator[Tile]:
    """Tiles over all rows whose pieces cover each pair of each region's band exactly once."""
    for first, last in _cuts(bands, sizes):
        pieces = [
            piece
            for number, band in enumerate(bands)
            for piece in _pieces(band, number, first, last, sizes)
        ]
        # The widest first: the others are merged into it.
        pieces.sort(key=lambda piece: piece.first - piece.last)
        yield Tile(first, last, tuple(pieces))


def diagonal_tiles(
    bands: Sequence[Band], queries: Tensor, keys: Tensor, sizes: Sizes
) -> Iterator[Tile]:
    """As ``tiles_of``, for scores with a bias of the distance, which says of edges what is seen.

    queries, keys  index ``[m]`` and ``[n]``
    """
    for first, last in _cuts(bands, replace(sizes, tile_rows=sizes.masked_rows)):
        pieces: list[Piece] = []
        for number, band in enumerate(bands):
            for low, high, start, stop, steady in _diagonals(band, first, last, sizes.least_rows):
                counted = _moves_by_one(queries[low:high]) and _moves_by_one(keys[start:stop])
                shape = Shape.DIAGONAL if steady and counted else Shape.RAGGED
                pieces.append(Piece(number, low, high, start, stop, shape))
        yield Tile(first, last, tuple(pieces))


def ragged_tiles(rows: int, keys: int, regions: int, sizes: Sizes) -> Iterator[Tile]:
    """Tiles of which every region is one piece over all keys."""
    for first in range(0, rows, sizes.masked_rows):
        last = min(first + sizes.masked_rows, rows)
        pieces = (Piece(n, first, last, 0, keys, Shape.RAGGED) for n in range(regions))
        yield Tile(first, last, tuple(pieces))


def _cuts(bands: Sequence[Band], sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Runs of rows, cut where a bound jumps or changes its pace."""
    bounds = torch.stack([bound for band in bands for bound in (band.start, band.stop)])
    rows = bounds.shape[1]
    changes = (bounds.diff(n=2, dim=1) != 0).any(dim=0).nonzero().flatten() + 2
    ends, first = changes.tolist(), 0
    while first < rows:
        last = min(first + sizes.tile_rows, rows)
        # A change right after the first row is the jump that the tile before ended at.
        after = bisect_left(ends, first + max(sizes.least_rows, 2))
        last = min(last, ends[after]) if after < len(ends) else last
        yield first, last
        first = last


def _pieces(band: Band, region: int, first: int, last: int, sizes: Sizes) -> Iterator[Piece]:
    here = band.rows(first, last)
    low, high = int(here.start[0]), int(here.start[-1])
    start, stop = int(here.stop[0]), int(here.stop[-1])
    if stop <= low:
        return
    # A rectangle between the edges, and no edge much wider than the tile is high.
    fits = high <= start and max(high - low, stop - start) <= 2 * (last - first)
    if not fits and last - first > sizes.least_rows:
        middle = (first + last) // 2
        yield from _pieces(band, region, first, middle, sizes)
        yield from _pieces(band, region, middle, last, sizes)
        return
    if not fits:
        yield Piece(region, first, last, low, stop, Shape.RAGGED)
        return
    if low < high:
        shape = Shape.SHRINKING if _moves_by_one(here.start) else Shape.RAGGED
        yield Piece(region, first, last - 1, low, high, shape)
    if start < stop:
        by_one = _moves_by_one(here.stop)
        # With one key of the rectangle, the first row of a growing edge sees something too.
        shared = int(by_one and high < start)
        start -= shared
        shape = Shape.GROWING if by_one else Shape.RAGGED
        yield Piece(region, first + 1 - shared, last, start, stop, shape)
    if high < start:
        yield Piece(region, first, last, high, start, Shape.RECTANGLE)


def _diagonals(
    band: Band, first: int, last: int, least_rows: int
) -> Iterator[tuple[int, int, int, int, bool]]:
    """Rows, keys, and whether each bound moves by one key a row or stands still."""
    here = band.rows(first, last)
    seen = here.stop - here.start
    start, stop = here.keys
    if stop <= start or not bool(seen.any()):
        return
    bounds = (here.start, here.stop)
    steady = bool((seen > 0).all()) and all(_moves_by_one(x) or _stands(x) for x in bounds)
    # Pairs that are not seen are computed too: no more than there are others.
    narrow = stop - start > 2 * int(seen.max())
    if (narrow or not steady) and last - first > least_rows:
        middle = (first + last) // 2
        yield from _diagonals(band, first, middle, least_rows)
        yield from _diagonals(band, middle, last, least_rows)
        return
    yield first, last, start, stop, steady


def _stands(bound: Tensor) -> bool:
    return bool((bound == bound[0]).all())


def _moves_by_one(bound: Tensor) -> bool:
    return bool((bound.diff() == 1).all())
