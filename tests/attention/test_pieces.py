"""Pieces cover bands, and what rows may see is found in masks."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_cases import DIM, L0, Masked, cut_by
from torch.testing import assert_close

from attention_inputs import qkv
from ropewalk.attention import shares
from ropewalk.attention.bands import Visible
from ropewalk.attention.lse import Seen, attend_lse
from ropewalk.attention.tiled import attend
from ropewalk.attention.tiles import Band, Shape, Sizes, diagonal_tiles, tiles_of
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.rerope import ReRoPE
from ropewalk.positions.self_extend import SelfExtend
from ropewalk.positions.string import ShiftedRoPE

GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)


PLAIN = encoding("none", GEOMETRY)


@st.composite
def staircases(draw):
    """Bounds of up to 40 rows that rise by steps of a few kinds, and keys enough for them."""
    rows = draw(st.integers(1, 40))
    steps = st.sampled_from([0, 0, 1, 1, 1, 2, 9])
    bounds = []
    for _ in range(2 * draw(st.integers(1, 3))):
        runs = draw(st.lists(st.tuples(steps, st.integers(1, 15)), min_size=rows, max_size=rows))
        rises = [step for step, times in runs for _ in range(times)][: rows - 1]
        bounds.append(torch.tensor([draw(st.integers(0, 12)), *rises]).cumsum(dim=0))
    return [
        Band(start, torch.maximum(start, stop))
        for start, stop in zip(bounds[0::2], bounds[1::2], strict=True)
    ]


def seen_by(piece, band):
    """Rows, keys and which of them a piece takes."""
    rows = torch.arange(piece.first, piece.last)[:, None]
    keys = torch.arange(piece.start, piece.stop)
    row, key = rows - piece.first, keys - piece.start
    ragged = (band.start[rows] <= keys) & (keys < band.stop[rows])
    return {
        Shape.RECTANGLE: torch.ones_like(row * key, dtype=torch.bool),
        Shape.GROWING: key <= row,
        Shape.SHRINKING: key >= row,
        Shape.DIAGONAL: ragged,
        Shape.RAGGED: ragged,
    }[piece.shape]


# Pieces cover bands.


@settings(max_examples=100, deadline=None)
@given(
    bands=staircases(),
    tile_rows=st.integers(1, 12),
    least_rows=st.integers(1, 6),
)
def test_pieces_cover_each_band_once(bands, tile_rows, least_rows):
    sizes = Sizes(tile_rows=tile_rows, least_rows=least_rows)
    keys = max(int(band.stop.max()) for band in bands)
    taken = torch.zeros(len(bands), len(bands[0].start), keys, dtype=torch.long)
    at = 0
    for tile in tiles_of(bands, sizes):
        assert tile.first == at < tile.last <= at + tile_rows
        at = tile.last
        for piece in tile.pieces:
            assert tile.first <= piece.first < piece.last <= tile.last
            assert piece.start < piece.stop
            here = taken[piece.region, piece.first : piece.last, piece.start : piece.stop]
            here += seen_by(piece, bands[piece.region])
            if piece.shape in (Shape.GROWING, Shape.SHRINKING):
                assert piece.last - piece.first == piece.stop - piece.start
    assert at == len(bands[0].start)
    for band, counts in zip(bands, taken, strict=True):
        index = torch.arange(keys)
        covered = (band.start[:, None] <= index) & (index < band.stop[:, None])
        assert_close(counts, covered.long())


@settings(max_examples=100, deadline=None)
@given(bands=staircases(), masked_rows=st.integers(1, 12), least_rows=st.integers(1, 6))
def test_diagonal_pieces_cover_each_band_once(bands, masked_rows, least_rows):
    sizes = Sizes(masked_rows=masked_rows, least_rows=least_rows)
    rows, keys = len(bands[0].start), max(int(band.stop.max()) for band in bands)
    taken = torch.zeros(len(bands), rows, keys, dtype=torch.long)
    for tile in diagonal_tiles(bands, torch.arange(rows), torch.arange(keys), sizes):
        for piece in tile.pieces:
            here = taken[piece.region, piece.first : piece.last, piece.start : piece.stop]
            here += seen_by(piece, bands[piece.region])
            band = bands[piece.region].rows(piece.first, piece.last)
            if piece.shape is Shape.DIAGONAL:
                for bound in (band.start.diff(), band.stop.diff()):
                    assert bool((bound == 0).all()) or bool((bound == 1).all())
    for band, counts in zip(bands, taken, strict=True):
        index = torch.arange(keys)
        covered = (band.start[:, None] <= index) & (index < band.stop[:, None])
        assert_close(counts, covered.long())


@pytest.mark.parametrize(
    "position_map",
    [ReRoPE(window=64), SelfExtend(group_size=8, window=64), ShiftedRoPE(shift=100, window=16)],
)
def test_edges_that_move_by_one_key_take_no_mask(position_map, monkeypatch):
    """A window that is a multiple of tiles is cut without waste: its pairs and half a diagonal."""
    asked = []

    def watched(q, k, v, *, scale, seen=Seen.ALL, bias=None):
        asked.append((seen, q.shape[2] * k.shape[2]))
        return attend_lse(q, k, v, scale=scale, seen=seen)

    monkeypatch.setattr(shares, "attend_lse", watched)
    q, k, v = qkv(1, 2, 2, 512, 512)
    with cut_by(Sizes(tile_rows=64, least_rows=8)):
        attend(q, k, v, replace(PLAIN, position_map=position_map))
    assert all(isinstance(seen, Seen) for seen, _ in asked)
    pairs = sum(area if seen is Seen.ALL else area / 2 for seen, area in asked)
    assert pairs <= 1.02 * 512 * 513 / 2


def test_a_chunk_ends_a_tile(monkeypatch):
    """Rows of two chunks in one tile would have bands that jump."""
    asked = []

    def watched(q, k, v, *, scale, seen=Seen.ALL, bias=None):
        asked.append(seen)
        return attend_lse(q, k, v, scale=scale, seen=seen)

    monkeypatch.setattr(shares, "attend_lse", watched)
    q, k, v = qkv(1, 2, 2, 300, 300)
    with cut_by(Sizes(tile_rows=64, least_rows=8)):
        attend(q, k, v, replace(PLAIN, position_map=DualChunk(chunk_size=90, local_window=20)))
    assert all(isinstance(seen, Seen) for seen in asked)


# What rows may see.


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40),
    keys=st.integers(1, 40),
    runs=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=40),
    strip_rows=st.integers(1, 15),
)
def test_consecutive_keys_are_found_in_masks(rows, keys, runs, strip_rows):
    index = torch.arange(keys)
    mask = torch.stack(
        [(a <= index) & (index < b) for a, b in (runs[n % len(runs)] for n in range(rows))]
    )
    visible = Visible.of(Masked.of(mask), strip_rows)
    assert visible is not None
    again = (visible.start[0, :, None] <= index) & (index < visible.stop[0, :, None])
    assert_close(again, mask)


def test_a_gap_in_a_mask_is_noticed():
    mask = torch.ones(20, 30, dtype=torch.bool)
    mask[17, 4] = False
    assert Visible.of(Masked.of(mask), 8) is None
    mask[17, 0:4] = False
    assert Visible.of(Masked.of(mask), 8) is not None
