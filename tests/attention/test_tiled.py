"""Attention cut into tiles and pieces is the oracle, and does no work twice."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from attention_inputs import Growing, PaddedSliding, Slopes, qkv, random
from ropewalk.attention import call as cutting
from ropewalk.attention import shares
from ropewalk.attention.bands import Visible
from ropewalk.attention.call import Call
from ropewalk.attention.lse import Seen, attend_lse
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend, attend_in
from ropewalk.attention.tiles import Band, Shape, Sizes, tiles_of
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import Fixed, PerQuery, WholeSequence
from ropewalk.core.rotation import Turn
from ropewalk.core.rows import CausalRows, Rows
from ropewalk.core.score_mods import ScoreMod
from ropewalk.frequencies.dynamic_ntk import DynamicNTK
from ropewalk.methods.build import encoding
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.leaky_rerope import LeakyReRoPE
from ropewalk.positions.rerope import ReRoPE
from ropewalk.positions.self_extend import SelfExtend
from ropewalk.positions.string import ShiftedRoPE

SAME = {"rtol": 0, "atol": 1e-10}
L0, DIM = 6, 8
GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)
PLAIN = encoding("none", GEOMETRY)
SMALL = Sizes(tile_rows=5, masked_rows=3, least_rows=2, strip_rows=4, mask_numbers=24)


@contextmanager
def cut_by(sizes):
    """Hypothesis wants no fixture that outlives an example."""
    before, cutting.SIZES = cutting.SIZES, sizes
    try:
        yield
    finally:
        cutting.SIZES = before


# Pieces cover bands.


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
        Shape.RAGGED: ragged,
    }[piece.shape]


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


@dataclass(frozen=True, eq=False)
class Masked(Rows):
    """The last m of n tokens under any mask ``[.., m, n]``, joined with the causal one."""

    query_positions: torch.Tensor
    key_positions: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, mask, starts=(0,)):
        """``starts``: the first position of each sequence."""
        rows, keys = mask.shape[-2:]
        index = torch.arange(max(rows, keys)) + torch.tensor(starts)[:, None]
        return cls(index[:, -rows:], index[:, :keys], mask)

    def allowed(self, first, last):
        return self.mask.shape[-1], self.mask[..., first:last, :]


def causal(mask):
    rows, keys = mask.shape[-2:]
    return mask & (torch.arange(keys) <= torch.arange(keys - rows, keys)[:, None])


# Tiles are the oracle.


MAPS = {
    "rerope": ReRoPE(window=4),
    "rerope of one": ReRoPE(window=1),
    "wide rerope": ReRoPE(window=7),
    "leaky": LeakyReRoPE(window=3, slope=2.5),
    "self extend": SelfExtend(group_size=2, window=4),
    "odd groups": SelfExtend(group_size=3, window=5),
    "dual chunk": DualChunk(chunk_size=5, local_window=2),
    "small chunks": DualChunk(chunk_size=2, local_window=1),
    "string": ShiftedRoPE(shift=5, window=2),
}
DYNAMIC = DynamicNTK(geometry=GEOMETRY, factor=2.0)
POLICIES = {
    "per query": PerQuery(trained_length=L0, step=1),
    "steps": PerQuery(trained_length=L0, step=4),
    "whole": WholeSequence(trained_length=L0),
    "fixed": Fixed(length=11),
}


@st.composite
def encodings(draw):
    """A map over static or length-dependent frequencies, with or without score modifications."""
    chosen = replace(
        draw(st.sampled_from([PLAIN, encoding("yarn:factor=4", GEOMETRY)])),
        position_map=draw(st.sampled_from(list(MAPS.values()))),
        score_mods=draw(
            st.sampled_from([(), (), (Growing(),), (Slopes(),), (Growing(), Slopes())])
        ),
    )
    policy = draw(st.sampled_from([None, *POLICIES.values()]))
    if policy is None:
        return chosen
    return replace(chosen, frequencies=DYNAMIC, length_policy=policy)


@st.composite
def sizes(draw):
    return Sizes(
        tile_rows=draw(st.integers(1, 9)),
        masked_rows=draw(st.integers(1, 5)),
        least_rows=draw(st.integers(1, 4)),
        strip_rows=draw(st.integers(1, 7)),
        mask_numbers=draw(st.integers(1, 60)),
    )


@st.composite
def calls(draw):
    """q, k, v of a prefill, a chunk or a decoding step, with heads that share keys or not."""
    keys = draw(st.integers(1, 17))
    groups, repeats = draw(st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2)]))
    queries = draw(st.one_of(st.just(1), st.just(keys), st.integers(1, keys)))
    values = draw(st.sampled_from([5, DIM, 11]))
    return qkv(draw(st.integers(1, 2)), groups * repeats, groups, queries, keys, values=values)


@settings(max_examples=100, deadline=None)
@given(encoding=encodings(), call=calls(), sizes=sizes(), sinks=st.booleans())
def test_tiles_are_the_oracle(encoding, call, sizes, sinks):
    own = {"sinks": random(call[0].shape[1], seed=9)} if sinks else {}
    with cut_by(sizes):
        actual = attend(*call, encoding, **own)
    assert_close(actual, attend_reference(*call, encoding, **own), **SAME)


@settings(max_examples=100, deadline=None)
@given(
    encoding=encodings(),
    call=calls(),
    sizes=sizes(),
    window=st.integers(1, 17),
    padding=st.lists(st.integers(0, 16), min_size=2, max_size=2),
    sinks=st.booleans(),
)
def test_tiles_are_the_oracle_for_padded_rows_under_a_sliding_window(
    encoding, call, sizes, window, padding, sinks
):
    batch, heads, queries, _ = call[0].shape
    keys = call[1].shape[2]
    padding = [min(missing, keys - 1) for missing in padding[:batch]]
    rows = PaddedSliding.of(padding, queries, keys, window)
    own = {"sinks": random(heads, seed=9)} if sinks else {}
    with cut_by(sizes):
        actual = attend(*call, encoding, rows=rows, **own)
    oracle = attend_reference(*call, encoding, rows=rows, **own)
    assert actual.isfinite().all()
    for b, missing in enumerate(padding):
        real = max(0, missing - (keys - queries))
        assert_close(actual[b, :, real:], oracle[b, :, real:], **SAME)


@settings(max_examples=60, deadline=None)
@given(encoding=encodings(), call=calls(), sizes=sizes(), data=st.data())
def test_tiles_are_the_oracle_under_masks_with_gaps(encoding, call, sizes, data):
    batch, heads, queries, _ = call[0].shape
    shape = data.draw(
        st.sampled_from([(1, 1), (batch, 1), (1, heads), (batch, heads)]).map(
            lambda lead: (*lead, queries, call[1].shape[2])
        )
    )
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    mask = causal(torch.rand(shape, generator=generator) < 0.7)
    starts = data.draw(st.sampled_from([(0, 0), (3, 3), (0, 5)]))[:batch]
    rows = Masked.of(mask, starts)
    if mask.shape[1] == 1:
        oracle = attend_reference(*call, encoding, rows=rows)
    else:
        oracle = torch.cat([by_head(call, encoding, mask, starts, h) for h in range(heads)], dim=1)
    with cut_by(sizes):
        actual = attend(*call, encoding, rows=rows)
    assert actual.isfinite().all()
    seen = mask.any(dim=-1).expand(batch, heads, queries)
    assert_close(actual[seen], oracle[seen], **SAME)


def test_each_sequence_has_its_own_mask_with_gaps():
    q, k, v = qkv()
    generator = torch.Generator().manual_seed(3)
    rows = Masked.of(causal(torch.rand(2, 1, 9, 13, generator=generator) < 0.7), (0, 5))
    built = replace(PLAIN, position_map=ReRoPE(window=4))
    with cut_by(SMALL):
        actual = attend(q, k, v, built, rows=rows)
    assert_close(actual, attend_reference(q, k, v, built, rows=rows), **SAME)


def by_head(call, encoding, mask, starts, head):
    """The oracle knows no masks by head: all heads under the mask of one, of which one counts."""
    rows = Masked.of(mask[:, head : head + 1], starts)
    return attend_reference(*call, encoding, rows=rows)[:, head : head + 1]


@pytest.mark.parametrize("name", MAPS)
def test_sequences_at_the_same_positions_may_see_other_keys(name):
    built = replace(PLAIN, position_map=MAPS[name])
    q, k, v = qkv(queries=9, keys=13)
    distance = torch.arange(4, 13)[:, None] - torch.arange(13)
    mask = torch.stack([(distance >= 0) & (distance < window) for window in (3, 8)])[:, None]
    rows = Masked.of(mask, (0, 0))
    with cut_by(SMALL):
        actual = attend(q, k, v, built, rows=rows)
    assert_close(actual, attend_reference(q, k, v, built, rows=rows), **SAME)


@pytest.mark.parametrize("name", MAPS)
def test_sequences_packed_in_one_row_are_each_alone(name):
    """Positions start again, and each sequence sees itself alone."""
    built = replace(PLAIN, position_map=MAPS[name])
    q, k, v = qkv(1, queries=14, keys=14)
    index = torch.arange(14)
    own = torch.where(index < 6, index, index - 6)[None]
    mask = causal((index[:, None] < 6) == (index < 6))
    with cut_by(SMALL):
        packed = attend(q, k, v, built, rows=Masked(own, own, mask))
    for part in (slice(0, 6), slice(6, 14)):
        alone = attend_reference(q[:, :, part], k[:, :, part], v[:, :, part], built)
        assert_close(packed[:, :, part], alone, **SAME)


@pytest.mark.parametrize("name", MAPS)
def test_tokens_may_come_in_any_order(name):
    """Positions say where a token stands, not its place in the call."""
    built = replace(PLAIN, position_map=MAPS[name])
    q, k, v = qkv(1, queries=13, keys=13)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(1))
    rows = Masked(order[None], order[None], order[:, None] >= order)
    with cut_by(SMALL):
        actual = attend(*(x[:, :, order] for x in (q, k, v)), built, rows=rows)
    assert_close(actual, attend_reference(q, k, v, built)[:, :, order], **SAME)


@pytest.mark.parametrize("name", MAPS)
def test_a_padded_batch_is_each_row_alone(name):
    built = replace(PLAIN, position_map=MAPS[name], score_mods=(Growing(),))
    q, k, v = qkv(3, queries=13, keys=13)
    padding = [0, 4, 9]
    rows = PaddedSliding.of(padding, 13, 13, window=100)
    with cut_by(SMALL):
        together = attend(q, k, v, built, rows=rows)
        for b, missing in enumerate(padding):
            alone = attend(*(x[b : b + 1, :, missing:] for x in (q, k, v)), built)
            assert_close(together[b : b + 1, :, missing:], alone, **SAME)


def test_keys_of_a_static_cache_may_be_empty():
    """More slots than tokens: what is beyond a row's reach has positions that count on."""
    built = replace(PLAIN, position_map=ReRoPE(window=3))
    q, k, v = qkv(1, queries=4, keys=20)
    index = torch.arange(20)[None]
    mask = torch.arange(20) <= torch.arange(5, 9)[:, None]
    rows = Masked(index[:, 5:9], index, mask)
    with cut_by(SMALL):
        actual = attend(q, k, v, built, rows=rows)
    assert_close(actual, attend_reference(q, k[:, :, :9], v[:, :, :9], built), **SAME)


def test_a_row_that_sees_nothing_is_finite():
    built = replace(PLAIN, position_map=ReRoPE(window=3))
    q, k, v = qkv(2, queries=9, keys=9)
    mask = causal(torch.ones(9, 9, dtype=torch.bool))
    for blind in (0, 4, 8):
        mask[blind] = False
    for sizes in (SMALL, Sizes()):
        with cut_by(sizes):
            assert attend(q, k, v, built, rows=Masked.of(mask, (0, 0))).isfinite().all()
            only = attend(q[:, :, 4:5], k, v, built, rows=Masked.of(mask[4:5], (0, 0)))
            assert only.isfinite().all()


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("queries", [1, 9])
def test_channels_weights_and_scales_of_the_architecture(pairing, queries):
    """Rotary channels after others, weighted products, a softmax scale and a value width."""
    geometry = replace(GEOMETRY, partial_rotary_factor=0.5, pairing=pairing)
    built = replace(
        encoding("yarn:factor=4", geometry), position_map=DualChunk(chunk_size=4, local_window=2)
    )
    q, k, v = qkv(queries=queries)
    weights = random(DIM, seed=7)
    order = [2, 3, 4, 5, 0, 1, 6, 7]
    with cut_by(SMALL):
        actual = attend(q, k, v, built, first_channel=2, channel_weights=weights, softmax_scale=0.7)
    # Weights that commute with the rotation may be taken from the products into the query.
    pairs = {"half": [0, 1, 0, 1], "interleaved": [0, 0, 1, 1]}[pairing]
    even = weights.clone()
    even[2:6] = weights[2:6][pairs]
    with cut_by(SMALL):
        commuting = attend(q, k, v, built, first_channel=2, channel_weights=even, softmax_scale=0.7)
    oracle = attend_reference((q * even)[..., order], k[..., order], v, built, softmax_scale=0.7)
    assert_close(commuting, oracle, **SAME)
    assert (actual - commuting).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["rerope", "dual chunk", "self extend"])
@pytest.mark.parametrize("queries", [1, 13])
def test_softcap_is_the_oracle(name, queries):
    built = replace(PLAIN, position_map=MAPS[name], score_mods=(Slopes(),))
    q, k, v = qkv(queries=queries)
    own = {"softcap": 1.5, "sinks": torch.tensor([-1.0, 0.0, 2.0, 0.5])}
    assert_close(attend(q, k, v, built, **own), attend_reference(q, k, v, built, **own), **SAME)


@pytest.mark.parametrize("sinks", [None, torch.tensor([-1.0, 0.0, 2.0, 0.5]).double()])
@pytest.mark.parametrize("name", MAPS)
def test_gradients_are_those_of_the_oracle(name, sinks):
    built = replace(PLAIN, position_map=MAPS[name], score_mods=(Growing(),))
    grads = []
    for function in (attend, attend_reference):
        inputs = [x.requires_grad_() for x in qkv()]
        own = None if sinks is None else sinks.clone().requires_grad_()
        function(*inputs, built, sinks=own).square().sum().backward()
        grads.append([x.grad for x in (*inputs, *([] if own is None else [own]))])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, **SAME)


def test_sinks_alone_may_be_learned():
    grads = []
    for function in (attend, attend_reference):
        sinks = random(4, seed=9).requires_grad_()
        function(*qkv(), PLAIN, sinks=sinks).square().sum().backward()
        grads.append(sinks.grad)
    assert_close(*grads, **SAME)


@pytest.mark.parametrize("name", MAPS)
def test_what_inference_kept_serves_training(name):
    """Tensors made in inference mode may not be saved for a backward pass."""
    built = replace(PLAIN, position_map=MAPS[name])
    with torch.inference_mode():
        attend(*qkv(queries=11, keys=11), built)
    attend(*qkv(queries=11, keys=11), built)
    inputs = [x.requires_grad_() for x in qkv(queries=11, keys=11)]
    attend(*inputs, built).square().sum().backward()
    assert all(x.grad.isfinite().all() for x in inputs)


@dataclass(frozen=True, eq=False)
class Learned(ScoreMod):
    """A bias for each head that falls with the distance, and a scale, both to be learned."""

    slopes: torch.Tensor
    scale: torch.Tensor

    def query_scale(self, rows):
        return self.scale * torch.ones_like(rows, dtype=torch.float64)

    def bias(self, heads, rows, keys):
        return self.slopes.view(-1, *[1] * (rows - keys).ndim) * (keys - rows)


@pytest.mark.parametrize("name", ["yarn:factor=4", "rerope:window=4"])
def test_score_modifications_alone_may_be_learned(name):
    grads = []
    for function in (attend, attend_reference):
        slopes = random(4, seed=5).requires_grad_()
        scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        built = replace(encoding(name, GEOMETRY), score_mods=(Learned(slopes, scale),))
        function(*qkv(), built).square().sum().backward()
        grads.append([slopes.grad, scale.grad])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, **SAME)


def test_dropout_drops():
    q, k, v = qkv(queries=13)
    built = replace(PLAIN, position_map=ReRoPE(window=4))
    torch.manual_seed(0)
    dropped = attend(q, k, v, built, dropout=0.5)
    assert (dropped - attend(q, k, v, built)).abs().max() > 0.1


def test_turned_queries_and_keys_take_sinks():
    """Keys that settle at birth are turned before; their pieces are those of one region."""
    q, k, v = qkv(queries=9, keys=13)
    sinks = torch.tensor([-1.0, 0.0, 2.0, 0.5])
    with cut_by(SMALL):
        unrotated = Rotary(encoding=PLAIN.unrotated())
        actual = attend_in(Call.causal(q, k), q, k, v, unrotated, Softmax(sinks=sinks))
    still = replace(PLAIN, position_map=ReRoPE(window=1))  # every distance is 0 or 1
    scores = torch.einsum("bhmd,bhnd->bhmn", q, k.repeat_interleave(2, dim=1)) * DIM**-0.5
    seen = causal(torch.ones(9, 13, dtype=torch.bool))
    scores = scores.masked_fill(~seen, -torch.inf)
    column = sinks.double()[None, :, None, None].expand(2, 4, 9, 1)
    weights = torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]
    assert_close(actual, weights @ v.repeat_interleave(2, dim=1), **SAME)
    assert (attend(q, k, v, still) - actual).abs().max() > 1e-3


# Nothing is done twice, and nothing grows with the square of the length.


class Largest(TorchDispatchMode):
    """Numbers of the largest tensor that is made while it is on."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.numel())
        return made


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("mods", [(), (Slopes(),)])
def test_no_matrix_of_scores_is_made(name, mods):
    q, k, v = qkv(1, 2, 1, 1024, 1024, dtype=torch.float32)
    built = replace(PLAIN, position_map=MAPS[name], score_mods=mods)
    sizes = Sizes(tile_rows=64, masked_rows=32, strip_rows=32, mask_numbers=2**15)
    with cut_by(sizes), Largest() as largest:
        attend(q, k, v, built)
    # Masks by strips or pieces, or q and its turned copy for each region.
    assert largest.numbers <= 2**16


class CountedTurns:
    """Numbers of keys that were turned while it was watched, call by call."""

    def __init__(self, monkeypatch):
        self.keys = []
        write = Turn.write

        def watched(own, x, out):
            if x.ndim == 4 and x.shape[1] == 1:  # queries have two heads, or an axis of runs
                self.keys.append(x.numel())
            return write(own, x, out)

        monkeypatch.setattr(Turn, "write", watched)


@pytest.mark.parametrize(
    ("position_map", "times"),
    [
        (ReRoPE(window=8), 1),  # far keys stand at 0
        (DualChunk(chunk_size=16, local_window=4), 1),  # one place in the chunk for all regions
        (ShiftedRoPE(shift=16, window=4), 1),  # only queries are shifted
        (SelfExtend(group_size=2, window=8), 2),
    ],
)
def test_a_key_is_turned_once_for_each_of_its_positions(position_map, times, monkeypatch):
    q, k, v = qkv(1, 2, 1, 64, 64)
    counted = CountedTurns(monkeypatch)
    with cut_by(Sizes(tile_rows=16, least_rows=4)):
        attend(q, k, v, replace(PLAIN, position_map=position_map))
    assert len(counted.keys) == times
    assert sum(counted.keys) <= times * k.numel()


@pytest.mark.parametrize(
    ("position_map", "turned"),
    [
        (ReRoPE(window=8), 8),
        (DualChunk(chunk_size=16, local_window=4), 64),
        (SelfExtend(group_size=2, window=8), 64),
    ],
)
def test_a_decoding_step_turns_each_key_at_most_once(position_map, turned, monkeypatch):
    q, k, v = qkv(1, 2, 1, 1, 64)
    counted = CountedTurns(monkeypatch)
    attend(q, k, v, replace(PLAIN, position_map=position_map))
    assert sum(counted.keys) == turned * DIM


def test_a_second_layer_takes_no_cosines(monkeypatch):
    """Its call, encoding and L are those of the first: nothing is cut or taken again."""
    built = replace(PLAIN, position_map=SelfExtend(group_size=2, window=8))
    q, k, v = qkv(1, 2, 1, 9, 64)
    call, softmax = Call.causal(q, k), Softmax()
    first = attend_in(call, q, k, v, Rotary(encoding=built), softmax)
    calls = []
    angles, allowed = type(PLAIN.frequencies).angles, CausalRows.allowed
    monkeypatch.setattr(
        type(PLAIN.frequencies), "angles", lambda *a: calls.append("angles") or angles(*a)
    )
    monkeypatch.setattr(CausalRows, "allowed", lambda *a: calls.append("rows") or allowed(*a))
    assert torch.equal(attend_in(call, q, k, v, Rotary(encoding=built), softmax), first)
    assert not calls
    other = replace(built, position_map=SelfExtend(group_size=4, window=8))
    moved = attend_in(call, q, k, v, Rotary(encoding=other), softmax)
    assert (moved - first).abs().max() > 1e-3
    assert calls


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precisions_that_follow_each_other_do_not_mix(name, dtype):
    """What is kept for float32 must not serve float64."""
    built = replace(encoding("yarn:factor=4", GEOMETRY), position_map=MAPS[name])
    low = [x.to(dtype) for x in qkv(queries=13)]
    rough = attend(*low, built)
    exact = attend(*(x.double() for x in low), built)
    oracle = attend_reference(*low, built)
    assert_close(exact, oracle, **SAME)
    assert rough.dtype == dtype
    rounding = torch.finfo(dtype).eps / 2
    assert (rough.double() - oracle).abs().max() <= 60 * rounding
