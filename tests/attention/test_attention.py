"""Attention is the one equation, in fused pieces and in blocks; and the oracle is it too."""

import cmath
import math
from dataclasses import dataclass, replace
from typing import ClassVar
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import ropewalk as rw
from attention_inputs import Growing, PaddedSliding, Slopes, qkv
from mutants import Windows
from representative import PARAMETERS
from ropewalk.attention import plain, tiled
from ropewalk.attention.call import Call
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend, attend_in
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import AtBirth, Fixed, PerQuery, WholeSequence
from ropewalk.core.regions import Identity, PositionMap, Region
from ropewalk.core.rows import CausalRows
from ropewalk.methods.build import encoding
from ropewalk.scores.alibi import ALiBi

L0, DIM = 6, 8
GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)
SAME = {"rtol": 0, "atol": 1e-10}
POLICIES = (
    PerQuery(trained_length=L0, step=1),
    PerQuery(trained_length=L0, step=3),
    Fixed(length=2 * L0),
    WholeSequence(trained_length=L0),
    AtBirth(trained_length=L0),
)


@dataclass(frozen=True)
class Clipped(Region):
    """Pairs from distance ``window`` on, all shown the distance ``window``."""

    window: int

    def query_positions(self, rows):
        return torch.full_like(rows, self.window, dtype=torch.float64)

    def key_positions(self, keys):
        return torch.zeros_like(keys, dtype=torch.float64)

    def key_bounds(self, rows):
        return torch.zeros_like(rows), rows - self.window + 1


@dataclass(frozen=True)
class ReRoPE(PositionMap):
    """Distances min(m - n, window)."""

    window: int

    @property
    def regions(self):
        near = Windows(near_end=self.window, far_start=self.window).regions[0]
        return (near, Clipped(self.window))


def method(name, geometry=GEOMETRY):
    """The representative of a method, its lists cut to the geometry's pairs."""
    pairs = geometry.rotary_dim // 2
    parameters = {
        key: value[:pairs] if isinstance(value, list) else value
        for key, value in PARAMETERS[name].items()
    }
    return encoding(name, geometry, **parameters)


def dynamic(policy=POLICIES[0], geometry=GEOMETRY, **changes):
    return replace(method("dynamic_ntk", geometry), length_policy=policy, **changes)


# The oracle against the equation, spelled out with complex numbers.


def by_hand(q, k, v, *, inv_freq, distance, factor=1.0, tau=lambda m: 1.0, bias=None):
    """One sequence, all rotary, half pairing; ``inv_freq(m)``: of row m and all its keys."""
    heads, queries, width = q.shape
    keys, group = k.shape[1], heads // k.shape[0]
    out = torch.zeros(heads, queries, v.shape[-1], dtype=torch.float64)
    for h in range(heads):
        for row in range(queries):
            m = keys - queries + row
            scores = []
            for n in range(m + 1):
                total = 0.0
                for i, theta in enumerate(inv_freq(m)):
                    one = complex(q[h, row, i], q[h, row, i + width // 2])
                    other = complex(k[h // group, n, i], k[h // group, n, i + width // 2])
                    turned = one * other.conjugate() * cmath.exp(1j * distance(m, n) * theta)
                    total += turned.real
                score = tau(m) * total * factor**2 / math.sqrt(width)
                scores.append(score + (bias(h, m, n) if bias else 0.0))
            largest = max(scores)
            weights = [math.exp(score - largest) for score in scores]
            for n, weight in enumerate(weights):
                out[h, row] += weight / sum(weights) * v[h // group, n]
    return out


def plain_theta(base=GEOMETRY.rope_theta):
    return [base ** (-2 * i / DIM) for i in range(DIM // 2)]


def true_distance(m, n):
    return m - n


def clipped_distance(m, n):
    return min(m - n, 4)


def grown_theta(m):
    """Dynamic NTK with alpha 2 at length m + 1."""
    length = max(m + 1, L0)
    return plain_theta(GEOMETRY.rope_theta * (2 * length / L0 - 1) ** (DIM / (DIM - 2)))


def test_the_oracle_is_the_equation_for_rope():
    q, k, v = qkv()
    expected = by_hand(q[1], k[1], v[1], inv_freq=lambda m: plain_theta(), distance=true_distance)
    assert_close(attend_reference(q, k, v, method("none"))[1], expected, **SAME)


def test_the_oracle_is_the_equation_for_an_attention_factor():
    q, k, v = qkv()
    built = method("yarn")
    theta = built.frequencies.inv_freq(L0).tolist()
    factor = 0.1 * math.log(4) + 1
    expected = by_hand(
        q[0], k[0], v[0], inv_freq=lambda m: theta, distance=true_distance, factor=factor
    )
    assert_close(attend_reference(q, k, v, built)[0], expected, **SAME)


def test_the_oracle_is_the_equation_for_rows_with_lengths_of_their_own():
    q, k, v = qkv()
    expected = by_hand(q[0], k[0], v[0], inv_freq=grown_theta, distance=true_distance)
    assert_close(attend_reference(q, k, v, dynamic())[0], expected, **SAME)


def test_the_oracle_is_the_equation_for_two_regions_scales_and_biases():
    q, k, v = qkv()
    built = dynamic(position_map=ReRoPE(4), score_mods=(Growing(), Slopes()))
    expected = by_hand(
        q[0], k[0], v[0], inv_freq=grown_theta, distance=clipped_distance,
        tau=lambda m: 1 + math.log(1 + m), bias=lambda h, m, n: 0.5 ** (h + 1) * (n - m),
    )  # fmt: skip
    assert_close(attend_reference(q, k, v, built)[0], expected, **SAME)


def test_the_oracle_turns_keys_with_the_length_of_their_birth():
    """One query over three keys; key n was written at length 7 + n, the query sees its own."""
    q, k, v = qkv(1, 1, 1, 1, 3)
    rows = CausalRows(torch.tensor([[9]]), torch.tensor([[7, 8, 9]]))
    born = torch.tensor([[8, 9, 10]])
    own, scores = grown_theta(9), []
    for n, position in enumerate((7, 8, 9)):
        written = grown_theta(position)
        total = 0.0
        for i in range(DIM // 2):
            one = complex(q[0, 0, 0, i], q[0, 0, 0, i + DIM // 2])
            other = complex(k[0, 0, n, i], k[0, 0, n, i + DIM // 2])
            phase = 9 * own[i] - position * written[i]
            total += (one * other.conjugate() * cmath.exp(1j * phase)).real
        scores.append(total / math.sqrt(DIM))
    expected = torch.tensor([scores], dtype=torch.float64).softmax(-1) @ v[0, 0]
    actual = attend_reference(
        q, k, v, dynamic(AtBirth(trained_length=L0)), rows=rows, key_lengths=born
    )
    assert_close(actual[0, 0], expected, **SAME)


# Both ways of attention against the oracle.


def in_pieces(*call, **own):
    """Without gradients: fused."""
    return attend(*call, **own)


def in_blocks(q, *call, **own):
    """Blocks of plain products, which serve what fused pieces lack."""
    with patch.object(tiled, "attend_differentiable", plain.attend_plain):
        return attend(q.clone().requires_grad_(), *call, **own).detach()


both_ways = pytest.mark.parametrize("way", [in_pieces, in_blocks])


def needs_no_training(name):
    """Nor values as wide as keys: what does is in test_trained.py."""
    return not (method(name).trained or method(name).values_encoded)


ENCODINGS = {
    **{name: method(name) for name in PARAMETERS if needs_no_training(name)},
    **{f"dynamic_ntk {number}": dynamic(policy) for number, policy in enumerate(POLICIES)},
    "longrope whole": replace(method("longrope"), length_policy=WholeSequence(trained_length=L0)),
    "dynamic_yarn at birth": replace(
        method("dynamic_yarn"), length_policy=AtBirth(trained_length=L0)
    ),
    "bias": replace(method("yarn"), score_mods=(Slopes(),)),
    "bias and tau": dynamic(score_mods=(Growing(), Slopes(), Slopes())),
    "bias at birth": dynamic(AtBirth(trained_length=L0), score_mods=(Growing(), Slopes())),
    "windows": replace(method("none"), position_map=Windows(near_end=4, far_start=4)),
    "rerope": replace(method("yarn"), position_map=ReRoPE(4)),
    "dynamic rerope": dynamic(position_map=ReRoPE(4)),
    "rerope whole": dynamic(WholeSequence(trained_length=L0), position_map=ReRoPE(3)),
    "rerope, bias": dynamic(position_map=ReRoPE(4), score_mods=(Growing(), Slopes())),
}


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


# What belongs to the architecture.


@pytest.mark.parametrize("policy", ["per_query", "at_birth", "whole_sequence"])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("sinks", [None, torch.tensor([-1.0, 0.0, 2.0, 0.5])])
def test_softcap_and_sinks_equal_the_oracle(policy, softcap, sinks):
    built = rw.encoding("dynamic_ntk", GEOMETRY, policy=policy)
    q, k, v = qkv(queries=13)
    actual = attend(q, k, v, built, softcap=softcap, sinks=sinks)
    oracle = attend_reference(q, k, v, built, softcap=softcap, sinks=sinks)
    assert_close(actual, oracle, **SAME)
    if softcap or sinks is not None:
        assert (actual - attend(q, k, v, built)).abs().max() > 1e-3


def test_softcap_and_sink_by_hand():
    """Two keys, one head, no rotation to speak of: everything written out."""
    built = rw.encoding("none", GEOMETRY)
    q = torch.zeros(1, 1, 1, DIM, dtype=torch.float64)
    q[..., 0] = 2.0
    k = torch.zeros(1, 1, 1, DIM, dtype=torch.float64)
    k[..., 0] = 3.0
    v = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    score = 1.5 * math.tanh(6 * DIM**-0.5 / 1.5)
    expected = math.exp(score) / (math.exp(score) + math.exp(0.25))
    actual = attend(q, k, v, built, softcap=1.5, sinks=torch.tensor([0.25]))
    assert actual.item() == pytest.approx(expected, rel=1e-12)


# Precision.


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_stays_near_the_oracle(name, dtype):
    """Against the oracle on the same rounded inputs.

    Rounding turned q and k, and tau * q, moves a logit by at most 3 roundings of
    sigma * tau * factor^2 * |q| |k|, and a bias by one of its own; weights move by that
    relative to themselves, twice (numerator and denominator); weights and output round once.
    """
    q, k, v = qkv(dtype=dtype)
    built = ENCODINGS[name]
    actual = attend(q, k, v, built)
    assert actual.dtype == dtype
    norms = q.double().norm(dim=-1).max() * k.double().norm(dim=-1).max() * DIM**-0.5
    tau = built.query_scale(torch.arange(13)).max()
    waves = built.frequencies
    factor = 1.0 if waves is None else max(waves.attention_factor(n) for n in range(L0, 14))
    bias = 13.0 * sum(isinstance(mod, Slopes | ALiBi) for mod in built.score_mods)
    logits = 3 * norms * tau * factor**2 + bias
    rounding = torch.finfo(dtype).eps / 2
    allowed = (2 * logits + 2) * rounding * v.double().abs().max()
    error = (actual.double() - attend_reference(q, k, v, built)).abs().max()
    assert error <= allowed


@pytest.mark.parametrize("name", ["yarn", "dynamic_ntk", "rerope, bias"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rows_of_padding_are_finite_and_send_no_gradient_back(name, dtype):
    q, k, v = (x.requires_grad_() for x in qkv(queries=13, dtype=dtype))
    rows = PaddedSliding.of([0, 5], 13, 13, window=100)
    out = attend(q, k, v, ENCODINGS[name], rows=rows)
    assert out.isfinite().all()
    (out[0].sum() + out[1, :, 5:].sum()).backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))
    assert not k.grad[1, :, :5].any()
    assert not v.grad[1, :, :5].any()


@pytest.mark.parametrize("name", ["yarn", "dynamic_ntk 4", "dynamic_ntk", "rerope, bias"])
def test_gradients_are_those_of_the_oracle(name):
    grads = []
    for function in (attend, attend_reference):
        inputs = [x.requires_grad_() for x in qkv()]
        function(*inputs, ENCODINGS[name]).square().sum().backward()
        grads.append([x.grad for x in inputs])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, **SAME)


# Bad input.


@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((4, 9, 8), (2, 4, 9, 8), (2, 4, 9, 8)),
        ((2, 4, 9, 8), (2, 2, 9, 6), (2, 2, 9, 6)),
        ((2, 4, 9, 8), (2, 3, 9, 8), (2, 3, 9, 8)),
        ((2, 4, 9, 8), (1, 2, 9, 8), (1, 2, 9, 8)),
        ((2, 4, 9, 8), (2, 2, 9, 8), (2, 2, 8, 8)),
        ((2, 4, 9, 8), (2, 2, 9, 8), (2, 4, 9, 8)),
        ((2, 4, 10, 8), (2, 2, 9, 8), (2, 2, 9, 8)),
    ],
)
@pytest.mark.parametrize("function", [attend, attend_reference])
def test_shapes_that_do_not_fit_are_refused(function, q, k, v):
    with pytest.raises(RopewalkError, match="expected"):
        function(torch.zeros(q), torch.zeros(k), torch.zeros(v), method("none"))


def test_a_head_smaller_than_its_pairs_is_refused():
    q, k, v = qkv(width=6)
    with pytest.raises(RopewalkError, match="head_dim"):
        attend(q, k, v, method("none"))


def test_the_identity_map_is_the_default():
    built = Encoding(
        geometry=GEOMETRY,
        frequencies=method("none").frequencies,
        length_policy=Fixed(length=L0),
    )
    assert built.position_map == Identity()
    assert built == method("none")
