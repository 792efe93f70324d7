"""One forward pass: its rows, cut once for each encoding, and the waves that its layers share.

Layers ask with queries and keys of their own, but under few encodings and at the same places.
Cutting rows into parts and taking cosines costs several times what a decoding step of one layer
costs, so a ``Call`` is made for each pass, asked by all its layers, and dies with it.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.attention.bands import Visible, region_bands
from ropewalk.attention.tiles import (
    Band,
    Shape,
    Sizes,
    Tile,
    diagonal_tiles,
    ragged_tiles,
    tiles_of,
)
from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Side
from ropewalk.core.regions import Region
from ropewalk.core.rotation import Turn
from ropewalk.core.rows import CausalRows, Rows

SIZES = Sizes()
SHARED_NUMBERS = 2**26
"""Numbers of the waves that a call holds for one encoding: 256 MiB in float32. Where rows see so
many L that theirs would take more, each layer takes them anew."""

Run = tuple[slice, int, int]
"""Batch rows, and the first and last (exclusive) query of a run."""
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class SharedKeys:
    """Keys ``start .. stop - 1``, which ``region`` and all of ``regions`` show at one place."""

    regions: tuple[int, ...]
    region: Region
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """Queries ``first .. last - 1`` of batch rows that are alike, at context length L.

    length           L
    origin           from which positions are counted when they are turned into waves
    query_index      ``[m]``, of these queries
    key_index        ``[n]``, of all keys
    query_positions  ``[m]``
    key_positions    ``[n]``
    bands            visible keys of each region; None where they are not consecutive
    keys             which keys each region needs
    tiles            with rows counted from ``first``
    """

    rows: Rows
    encoding: Encoding
    batch: slice
    first: int
    last: int
    length: int
    origin: int
    query_index: Tensor
    key_index: Tensor
    query_positions: Tensor
    key_positions: Tensor
    bands: tuple[Band, ...] | None
    keys: tuple[SharedKeys, ...]
    tiles: tuple[Tile, ...]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Of the position map."""
        return self.encoding.position_map.regions

    def allowed(self, first: int, last: int) -> Tensor:
        """``Rows.allowed`` of these rows, counted from ``self.first``, for all keys.

        Bool ``[b or 1, h or 1, m or 1, n]``.
        """
        stop, mask = self.rows.allowed(self.first + first, self.first + last)
        missing = len(self.key_index) - stop
        if mask is None:
            mask = torch.ones(1, stop, dtype=torch.bool, device=self.key_index.device)
        mask = functional.pad(four_axes(mask), (0, missing))
        return mask[self.batch] if len(mask) > 1 else mask

    def query_turn(self, number: int, first_channel: int, dtype: torch.dtype) -> Turn | None:
        """Of these queries in region ``number``: rotates ``[..., m, d]``."""
        positions = self.regions[number].query_positions(self.query_positions) - self.origin
        return _turning(self.encoding, Side.QUERY, positions, self.length, first_channel, dtype)

    def key_turn(self, shared: SharedKeys, first_channel: int, dtype: torch.dtype) -> Turn | None:
        """Of shared keys: rotates ``[..., n, d]``; None where it changes nothing."""
        positions = shared.region.key_positions(self.key_positions[shared.start : shared.stop])
        positions = positions - self.origin
        return _turning(self.encoding, Side.KEY, positions, self.length, first_channel, dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What is made once for all who ask, as long as this lives."""

    _made: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` makes, once for all who ask with ``key``."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What the layers of one forward pass share. Layers ask it; it dies with the pass."""

    rows: Rows
    shared: Shared = field(default_factory=Shared)

    @classmethod
    def causal(cls, q: Tensor, k: Tensor) -> "Call":
        """The last m of n tokens: ``q`` ``[b, h, m, d]``, ``k`` ``[b, g, n, d]``."""
        return cls(CausalRows.of(q.shape[0], q.shape[2], k.shape[2], q.device))

    def lengths(self, encoding: Encoding) -> Tensor:
        """L ``[b, m]`` that each row sees."""
        rows, admission = self.rows, encoding.length_policy.looks_at_admission
        return self.shared.once(
            ("lengths", encoding),
            lambda: encoding.row_lengths(
                rows.length_index, rows.admitted_lengths if admission else rows.sequence_lengths
            ),
        )

    def origins(self, encoding: Encoding) -> Tensor | None:
        """Position ``[b, m]`` from which each row and its keys are counted; None for 0."""
        tile_rows = encoding.tile_rows
        if tile_rows is None:
            return None
        places = self.rows.query_positions
        return torch.div(places, tile_rows, rounding_mode="floor") * tile_rows

    def parts(self, encoding: Encoding) -> tuple[Part, ...]:
        """The rows, cut for fused attention."""
        return self.shared.once(("parts", encoding), lambda: tuple(_parts(self, encoding)))

    def by_diagonals(self, encoding: Encoding) -> bool:
        """Whether all pieces of all parts are diagonal."""

        def find() -> bool:
            tiles = (tile for part in self.parts(encoding) for tile in part.tiles)
            return all(piece.shape is Shape.DIAGONAL for tile in tiles for piece in tile.pieces)

        return self.shared.once(("by diagonals", encoding), find)

    def distances(self) -> tuple[int, int]:
        """The lowest and the highest m - n of all rows and keys."""

        def find() -> tuple[int, int]:
            rows, keys = self.rows.query_index, self.rows.key_index
            return int(rows.min() - keys.max()), int(rows.max() - keys.min())

        return self.shared.once("distances", find)

    def query_turn(
        self, part: Part, number: int, first_channel: int, dtype: torch.dtype
    ) -> Turn | None:
        """``Part.query_turn``, taken once if the call can hold what all parts need."""

        def make() -> Turn | None:
            return part.query_turn(number, first_channel, dtype)

        key = (part, Side.QUERY, number, first_channel, dtype)
        return self.shared.once(key, make) if self._holds(part.encoding) else make()

    def key_turn(
        self, part: Part, shared: SharedKeys, first_channel: int, dtype: torch.dtype
    ) -> Turn | None:
        """``Part.key_turn``, taken once if the call can hold what all parts need."""

        def make() -> Turn | None:
            return part.key_turn(shared, first_channel, dtype)

        key = (part, Side.KEY, shared, first_channel, dtype)
        return self.shared.once(key, make) if self._holds(part.encoding) else make()

    def _holds(self, encoding: Encoding) -> bool:
        def numbers() -> int:
            places = sum(
                len(part.regions) * (part.last - part.first)
                + sum(keys.stop - keys.start for keys in part.keys)
                for part in self.parts(encoding)
            )
            return 2 * encoding.geometry.rotary_dim * places

        return self.shared.once(("numbers", encoding), numbers) <= SHARED_NUMBERS


def runs(facts: Sequence[Tensor], lengths: Tensor, origins: Tensor | None = None) -> Iterator[Run]:
    """Runs of one L and origin of batch rows that are alike, ``facts`` ``[b or 1, .]`` too."""
    marks = (lengths,) if origins is None else (lengths, origins)
    alike = all(bool((fact == fact[:1]).all()) for fact in (*facts, *marks))
    count = len(lengths)
    for batch in [slice(0, count)] if alike else [slice(b, b + 1) for b in range(count)]:
        changes = torch.stack([mark[batch][0].diff() != 0 for mark in marks]).any(dim=0)
        ends = changes.nonzero().flatten() + 1
        for first, last in pairwise([0, *ends.tolist(), lengths.shape[1]]):
            yield batch, first, last


def four_axes(mask: Tensor) -> Tensor:
    """A mask that broadcasts to ``[b, h, m, n]``, with all four axes."""
    return mask[(None,) * (4 - mask.ndim)]


def _parts(call: Call, encoding: Encoding) -> Iterator[Part]:
    rows, regions, lengths = call.rows, encoding.position_map.regions, call.lengths(encoding)
    origins = call.origins(encoding)
    visible = Visible.of(rows, SIZES.strip_rows)
    facts = [rows.query_index, rows.key_index, rows.query_positions, rows.key_positions]
    facts += [] if visible is None else [visible.start, visible.stop]
    for batch, first, last in runs(facts, lengths, origins):
        queries, keys = rows.query_index[batch][0, first:last], rows.key_index[batch][0]
        bands = None
        if visible is not None:
            seen = visible.of_sequence(batch.start, first, last)
            bands = region_bands(regions, queries, keys, seen)
        yield Part(
            rows=rows,
            encoding=encoding,
            batch=batch,
            first=first,
            last=last,
            length=int(lengths[batch][0, first]),
            origin=0 if origins is None else int(origins[batch][0, first]),
            query_index=queries,
            key_index=keys,
            query_positions=rows.query_positions[batch][0, first:last],
            key_positions=rows.key_positions[batch][0],
            bands=bands,
            keys=tuple(_shared_keys(regions, bands, rows.key_positions[batch][0])),
            tiles=tuple(_tiles(encoding, bands, queries, keys)),
        )


def _tiles(
    encoding: Encoding, bands: Sequence[Band] | None, queries: Tensor, keys: Tensor
) -> Iterator[Tile]:
    if bands is None:
        return ragged_tiles(len(queries), len(keys), len(encoding.position_map.regions), SIZES)
    if encoding.biased_by_distance:
        return diagonal_tiles(bands, queries, keys, SIZES)
    sizes = replace(SIZES, tile_rows=SIZES.masked_rows) if encoding.biased else SIZES
    return tiles_of(bands, sizes)


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
        yield SharedKeys(tuple(alike), regions[alike[0]], low, high)


def _turning(
    encoding: Encoding,
    side: Side,
    positions: Tensor,
    length: int,
    first_channel: int,
    dtype: torch.dtype,
) -> Turn | None:
    turn = encoding.turn(side, positions, length, first_channel=first_channel, dtype=dtype)
    if turn is None or (side is Side.KEY and turn.is_identity):
        return None
    return turn
