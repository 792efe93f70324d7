"""Attention against the oracle."""

import math
from dataclasses import replace
from typing import ClassVar
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encodings import DIM, ENCODINGS, GEOMETRY, L0, ReRoPE, dynamic, method
from torch.testing import assert_close

from attention_inputs import PaddedSliding, qkv
from ropewalk.attention import plain, tiled
from ropewalk.attention.call import Call
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend, attend_in
from ropewalk.core.frequencies import Side
from ropewalk.core.lengths import AtBirth
from ropewalk.core.rows import CausalRows

SAME = {"rtol": 0, "atol": 1e-10}


def in_pieces(*call, **own):
    """Without gradients: fused."""
    return attend(*call, **own)


def in_blocks(q, *call, **own):
    """Blocks of plain products, which serve what fused pieces lack."""
    with patch.object(tiled, "attend_differentiable", plain.attend_plain):
        return attend(q.clone().requires_grad_(), *call, **own).detach()


both_ways = pytest.mark.parametrize("way", [in_pieces, in_blocks])


@st.composite
def shapes(draw):
    keys = draw(st.integers(1, 14))
    return {
        "batch": draw(st.integers(1, 3)),
        "key_heads": draw(st.sampled_from([1, 2])),
        "groups": draw(st.sampled_from([1, 3])),
        "queries": draw(st.integers(1, keys)),
        "keys": keys,
        "window": draw(st.integers(1, 14)),
        "padding": [draw(st.integers(0, keys - 1)) for _ in range(3)],
    }


def drawn(shape):
    batch, key_heads = shape["batch"], shape["key_heads"]
    return qkv(batch, key_heads * shape["groups"], key_heads, shape["queries"], shape["keys"])


@both_ways
@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=4, deadline=None)
@given(shape=shapes())
def test_attention_is_the_oracle(way, name, shape):
    q, k, v = drawn(shape)
    assert_close(way(q, k, v, ENCODINGS[name]), attend_reference(q, k, v, ENCODINGS[name]), **SAME)


@both_ways
@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=4, deadline=None)
@given(shape=shapes())
def test_attention_is_the_oracle_for_unequal_rows_under_a_sliding_window(way, name, shape):
    q, k, v = drawn(shape)
    padding = shape["padding"][: shape["batch"]]
    rows = PaddedSliding.of(padding, shape["queries"], shape["keys"], shape["window"])
    actual = way(q, k, v, ENCODINGS[name], rows=rows)
    oracle = attend_reference(q, k, v, ENCODINGS[name], rows=rows)
    first = shape["keys"] - shape["queries"]
    for b, missing in enumerate(padding):
        real = max(0, missing - first)
        assert_close(actual[b, :, real:], oracle[b, :, real:], **SAME)
    assert actual.isfinite().all()


@both_ways
@pytest.mark.parametrize("name", ENCODINGS)
def test_padding_is_as_if_it_were_not_there(way, name):
    q, k, v = qkv(queries=13, keys=13)
    rows = PaddedSliding.of([0, 4], 13, 13, window=100)
    alone = way(q[1:, :, 4:], k[1:, :, 4:], v[1:, :, 4:], ENCODINGS[name])
    assert_close(way(q, k, v, ENCODINGS[name], rows=rows)[1:, :, 4:], alone, **SAME)


class OneMask(CausalRows):
    """Rows that start anywhere, under one 4-D mask for the whole batch."""

    visible = None

    def allowed(self, first, last):
        stop, mask = super().allowed(first, last)
        return stop, None if mask is None else mask[None, None]


@both_ways
@pytest.mark.parametrize("name", ENCODINGS)
def test_one_mask_may_serve_rows_of_unequal_lengths(way, name):
    q, k, v = qkv()
    index = torch.arange(13) + torch.tensor([[0], [5]])
    rows = OneMask(index[:, 4:], index)
    oracle = attend_reference(q, k, v, ENCODINGS[name], rows=rows)
    assert_close(way(q, k, v, ENCODINGS[name], rows=rows), oracle, **SAME)


@both_ways
@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("first_channel", [0, 1, 4])
@pytest.mark.parametrize("name", ["none", "longrope", "dynamic_ntk", "yarn at birth", "two maps"])
def test_part_of_the_channels_may_turn_wherever_they_are(way, name, first_channel, pairing):
    """Scores do not care in which order channels stand: the oracle has the rotary ones first."""
    geometry = replace(GEOMETRY, partial_rotary_factor=0.5, pairing=pairing)
    built = {
        "yarn at birth": lambda: dynamic(AtBirth(trained_length=L0), geometry),
        "two maps": lambda: replace(method("yarn", geometry), position_map=ReRoPE(4)),
    }.get(name, lambda: method(name, geometry))()
    q, k, v = qkv()
    order = [*range(first_channel, first_channel + 4), *range(first_channel)]
    order += range(first_channel + 4, DIM)
    oracle = attend_reference(q[..., order], k[..., order], v, built)
    assert_close(way(q, k, v, built, first_channel=first_channel), oracle, **SAME)


@both_ways
@pytest.mark.parametrize("name", ["yarn", "dynamic_ntk", "rerope"])
def test_the_softmax_scale_of_the_architecture_is_used(way, name):
    q, k, v = qkv()
    actual = way(q, k, v, ENCODINGS[name], softmax_scale=0.7)
    assert_close(actual, attend_reference(q, k, v, ENCODINGS[name], softmax_scale=0.7), **SAME)
    rescaled = attend_reference(q * 0.7 * math.sqrt(DIM), k, v, ENCODINGS[name])
    assert_close(actual, rescaled, **SAME)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("queries", [1, 3, 4, 5, 8, 9])
def test_the_size_of_a_block_changes_nothing(name, queries, monkeypatch):
    q, k, v = qkv(queries=queries)
    rows = PaddedSliding.of([0, 3], queries, 13, window=6)
    whole = [in_blocks(q, k, v, ENCODINGS[name], rows=each) for each in (None, rows)]
    monkeypatch.setattr(plain, "MOST_ROWS", 4)
    pieces = [in_blocks(q, k, v, ENCODINGS[name], rows=each) for each in (None, rows)]
    real = max(0, queries - 10)
    assert_close(pieces[0], whole[0], **SAME)
    assert_close(pieces[1][:, :, real:], whole[1][:, :, real:], **SAME)


class Watched(CausalRows):
    """Notes which rows are asked about together."""

    visible = None

    seen: ClassVar[list[tuple[int, int]]] = []

    def allowed(self, first, last):
        self.seen.append((first, last))
        return super().allowed(first, last)


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("yarn", [(0, 4), (4, 8), (8, 9)]),
        ("windows", [(0, 4), (4, 8), (8, 9)]),
        # Row i stands at position 4 + i; L is 6, 6, then 9, 9, 9, then 12, 12, 12, then 15.
        ("dynamic_ntk 1", [(0, 2), (2, 5), (5, 8), (8, 9)]),
    ],
)
@pytest.mark.parametrize(("setting", "value"), [("MOST_ROWS", 4), ("SCORES_AT_ONCE", 4 * 4 * 13)])
def test_blocks_hold_no_more_rows_than_they_should(setting, value, name, cuts, monkeypatch):
    monkeypatch.setattr(plain, setting, value)
    monkeypatch.setattr(Watched, "seen", [])
    q, k, v = qkv(queries=9)
    index = torch.arange(13).expand(2, 13)
    in_blocks(q, k, v, ENCODINGS[name], rows=Watched(index[:, 4:], index))
    assert sorted(Watched.seen) == cuts


def rotated(x, side, positions, lengths, encoding):
    return encoding.turn(side, positions[:, None], lengths[:, None]).of(x)


def test_keys_of_earlier_calls_keep_their_length():
    """A prompt of 8 and five decoded tokens, whose keys settle at birth."""
    built = dynamic(AtBirth(trained_length=L0))
    q, k, v = qkv(queries=13)
    written, cached, outputs, start = [], [], [], 0
    for stop in (8, *range(9, 14)):
        now = torch.arange(start, stop).expand(2, -1)
        born = torch.full_like(now, stop)
        cached.append(rotated(k[:, :, start:stop], Side.KEY, now, born, built))
        written.append(born)
        rows = CausalRows(now, torch.arange(stop).expand(2, -1))
        own = built.row_lengths(now, born[:, 0])
        queries = rotated(q[:, :, start:stop], Side.QUERY, now, own, built)
        keys = torch.cat(cached, dim=2)
        outputs.append(
            attend_in(
                Call(rows),
                queries,
                keys,
                v[:, :, :stop],
                Rotary(encoding=built.unrotated()),
                Softmax(),
            )
        )
        oracle = attend_reference(
            q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop], built,
            rows=rows, key_lengths=torch.cat(written, dim=1),
        )  # fmt: skip
        assert_close(outputs[-1], oracle, **SAME)
        start = stop
    in_one_call = attend(q, k, v, built)
    assert (torch.cat(outputs, dim=2) - in_one_call).abs().max() > 1e-3
