"""Tiles are the oracle."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_cases import DIM, L0, MAPS, Masked, calls, causal, cut_by, sizes
from torch.testing import assert_close

from attention_inputs import Growing, PaddedSliding, Slopes, qkv, random
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.tiled import attend
from ropewalk.attention.tiles import Sizes
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import Fixed, PerQuery, WholeSequence
from ropewalk.frequencies.dynamic_ntk import DynamicNTK
from ropewalk.methods.build import encoding
from ropewalk.positions.rerope import ReRoPE

SAME = {"rtol": 0, "atol": 1e-10}


GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)


PLAIN = encoding("none", GEOMETRY)


SMALL = Sizes(tile_rows=5, masked_rows=3, least_rows=2, strip_rows=4, mask_numbers=24)


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
    for each in (SMALL, Sizes()):
        with cut_by(each):
            assert attend(q, k, v, built, rows=Masked.of(mask, (0, 0))).isfinite().all()
            only = attend(q[:, :, 4:5], k, v, built, rows=Masked.of(mask[4:5], (0, 0)))
            assert only.isfinite().all()
