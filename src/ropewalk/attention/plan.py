"""How the rows of a call are cut into parts, tiles and pieces, before any query or key is read.

All layers of a model ask with the same rows and the same encoding, so the last plans are kept:
making one takes several times as long as a decoding step of one layer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.attention.bands import Visible, region_bands
from ropewalk.attention.tiles import Band, Sizes, Tile, ragged_tiles, tiles_of
from ropewalk.attention.turns import Span
from ropewalk.core.encoding import Encoding
from ropewalk.core.regions import Region
from ropewalk.core.rows import CausalRows, Rows


@dataclass(frozen=True, slots=True, eq=False)
class SharedKeys:
    """Keys ``start .. stop - 1``, which stand where ``region`` puts them in all of ``regions``."""

    regions: tuple[int, ...]
    region: Region
    start: int
    stop: int
    span: Span


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """Queries ``first .. last - 1`` of batch rows that are alike, at context length L.

    query_positions  ``[m]``, of these queries
    key_positions    ``[n]``, of all keys
    regions          of the position map
    biased           whether anything is added to the scores
    bands            visible keys of each region; None where they are not consecutive
    keys             which keys each region needs
    tiles            with rows counted from ``first``, each with the positions of its queries
    """

    rows: Rows
    batch: slice
    first: int
    last: int
    length: int
    query_positions: Tensor
    key_positions: Tensor
    regions: tuple[Region, ...]
    biased: bool
    bands: tuple[Band, ...] | None
    keys: tuple[SharedKeys, ...]
    tiles: tuple[tuple[Tile, Span], ...]

    def allowed(self, first: int, last: int) -> Tensor:
        """``Rows.allowed`` of these rows, counted from ``self.first``, for all keys.

        Bool ``[b or 1, h or 1, m or 1, n]``.
        """
        stop, mask = self.rows.allowed(self.first + first, self.first + last)
        missing = len(self.key_positions) - stop
        if mask is None:
            mask = torch.ones(1, stop, dtype=torch.bool, device=self.key_positions.device)
        mask = functional.pad(mask[(None,) * (4 - mask.ndim)], (0, missing))
        return mask[self.batch] if len(mask) > 1 else mask


@lru_cache(maxsize=4)
def causal_rows(batch: int, queries: int, keys: int, device: torch.device) -> CausalRows:
    """The last ``queries`` of ``keys`` tokens: one object, so that its plan is found again."""
    return CausalRows.of(batch, queries, keys, device)


def plan_of(rows: Rows, encoding: Encoding, heads: int, sizes: Sizes) -> Iterable[Part]:
    """The parts of a call with these rows, which are told apart by identity."""
    count = rows.query_positions.shape[1]
    # Rows with an L of their own are a part each: too many to keep.
    few = encoding.settled_length is not None or count <= sizes.least_rows
    return (_kept_parts if few else _parts)(rows, encoding, heads, sizes)


@lru_cache(maxsize=8)
def _kept_parts(rows: Rows, encoding: Encoding, heads: int, sizes: Sizes) -> tuple[Part, ...]:
    return tuple(_parts(rows, encoding, heads, sizes))


def _parts(rows: Rows, encoding: Encoding, heads: int, sizes: Sizes) -> Iterator[Part]:
    regions, visible = encoding.position_map.regions, Visible.of(rows, sizes.strip_rows)
    lengths = encoding.row_lengths(rows.length_positions, rows.sequence_lengths)
    one = lengths.new_zeros(1, 1)
    biased = encoding.bias(heads, one, one) is not None
    sizes = replace(sizes, tile_rows=sizes.masked_rows) if biased else sizes
    for batch, first, last in _runs(rows, visible, lengths):
        queries, keys = rows.query_positions[batch][0, first:last], rows.key_positions[batch][0]
        bands = None
        if visible is not None:
            seen = visible.of_sequence(batch.start, first, last)
            bands = region_bands(regions, queries, keys, seen)
        yield Part(
            rows=rows,
            batch=batch,
            first=first,
            last=last,
            length=int(lengths[batch][0, first]),
            query_positions=queries,
            key_positions=keys,
            regions=regions,
            biased=biased,
            bands=bands,
            keys=tuple(_shared_keys(regions, bands, keys)),
            tiles=tuple(_tiles(regions, bands, queries, keys, sizes)),
        )


def _tiles(
    regions: Sequence[Region],
    bands: Sequence[Band] | None,
    queries: Tensor,
    keys: Tensor,
    sizes: Sizes,
) -> Iterator[tuple[Tile, Span]]:
    if bands is None:
        tiles = ragged_tiles(len(queries), len(keys), len(regions), sizes)
    else:
        tiles = tiles_of(bands, sizes)
    for tile in tiles:
        yield tile, Span.of(queries[tile.first : tile.last])


def _shared_keys(
    regions: Sequence[Region], bands: Sequence[Band] | None, keys: Tensor
) -> Iterator[SharedKeys]:
    """Each key of each region once: regions that give keys the same positions share them."""
    ranges = [(0, len(keys))] * len(regions) if bands is None else [band.keys for band in bands]
    waiting = [number for number, (start, stop) in enumerate(ranges) if start < stop]
    start = min((ranges[number][0] for number in waiting), default=0)
    stop = max((ranges[number][1] for number in waiting), default=0)
    positions = {n: regions[n].key_positions(keys[start:stop]) for n in waiting}
    while waiting:
        alike = [n for n in waiting if torch.equal(positions[n], positions[waiting[0]])]
        waiting = [n for n in waiting if n not in alike]
        low, high = min(ranges[n][0] for n in alike), max(ranges[n][1] for n in alike)
        yield SharedKeys(tuple(alike), regions[alike[0]], low, high, Span.of(keys[low:high]))


def _runs(rows: Rows, visible: Visible | None, lengths: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Batch rows that are alike, first and last query of each run of equal lengths."""
    facts = [rows.query_positions, rows.key_positions, lengths]
    facts += [] if visible is None else [visible.start, visible.stop]
    alike = all(bool((fact == fact[:1]).all()) for fact in facts)
    count = len(lengths)
    for batch in [slice(0, count)] if alike else [slice(b, b + 1) for b in range(count)]:
        ends = (lengths[batch][0].diff() != 0).nonzero().flatten() + 1
        for first, last in pairwise([0, *ends.tolist(), lengths.shape[1]]):
            yield batch, first, last
