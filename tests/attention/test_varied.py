"""Rows that see different context lengths, taken together, against the oracle row by row."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ropewalk.attention import expansion, varied
from ropewalk.attention.expansion import rank
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.varied import applies, attend_varied
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rows import CausalRows
from ropewalk.methods.build import encoding

L0 = 24
PLAIN = Softmax()
SPECS = ("dynamic_ntk", "dynamic_yarn", "dynamic_yarn+log_n", "dynamic_ntk:policy=whole_sequence")


def geometry(pairing="half", share=1.0):
    return RopeGeometry(
        head_dim=8, rope_theta=1e4, trained_length=L0, partial_rotary_factor=share, pairing=pairing
    )


def random_call(queries, keys, *, heads=2, groups=1, batch=1, width=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((heads, queries), (groups, keys), (groups, keys))
    return [
        torch.randn(batch, h, n, width, generator=generator, dtype=torch.float64).to(dtype)
        for h, n in shapes
    ]


def attended(q, k, v, encoding, rows=None, **settings):
    rows = rows or CausalRows.of(q.shape[0], q.shape[2], k.shape[2], q.device)
    return attend_varied(q, k, v, encoding, rows=rows, softmax=PLAIN, **settings)


@pytest.fixture
def small_blocks(monkeypatch):
    """Every kind of block and chunk in a short call."""
    for name, value in (("LEAST_KEYS", 4), ("MOST_KEYS", 16), ("NUMBERS_AT_ONCE", 2**9)):
        monkeypatch.setattr(expansion, name, value)
    for name, value in (("UNIFORM_ROWS", 12), ("RUN_ROWS", 4), ("BLOCK_ROWS", 8)):
        monkeypatch.setattr(varied, name, value)
    monkeypatch.setattr(varied, "FUSED_ROWS", 5)


@pytest.mark.usefixtures("small_blocks")
@settings(max_examples=40, deadline=None)
@given(
    spec=st.sampled_from(SPECS),
    step=st.sampled_from([1, 2, 3, 5, 16]),
    pairing=st.sampled_from(["half", "interleaved"]),
    share=st.sampled_from([1.0, 0.5]),
    groups=st.sampled_from([1, 2]),
    queries=st.integers(1, 60),
    before=st.sampled_from([0, 1, 30]),
)
@example("dynamic_yarn+log_n", 16, "half", 0.5, 2, 60, 1)
def test_every_row_is_what_the_oracle_says(spec, step, pairing, share, groups, queries, before):
    """float64: the terms that are left out are below its rounding."""
    policy = "" if "policy" in spec else f":step={step}"
    name, *others = spec.split("+")
    wanted = encoding("+".join([name + policy, *others]), geometry(pairing, share))
    q, k, v = random_call(queries, before + queries, groups=groups)
    assert applies(q, k, v, wanted, PLAIN)
    expected = attend_reference(q, k, v, wanted)
    assert_close(attended(q, k, v, wanted), expected, rtol=0, atol=1e-13)


def test_full_size_blocks_far_beyond_the_trained_length():
    q, k, v = random_call(150, 700, heads=4, groups=2)
    wanted = encoding("dynamic_ntk:factor=8", geometry())
    expected = attend_reference(q, k, v, wanted)
    assert_close(attended(q, k, v, wanted), expected, rtol=0, atol=1e-12)
    narrow = (x.float() for x in (q, k, v))
    actual = attended(*narrow, wanted)
    # Scores of |q| |k| / sqrt(8) up to 10 from sums of eight rounded products.
    assert_close(actual.double(), expected, rtol=0, atol=10 * 8 * 2**-24)


def test_half_precision_is_rounded_at_the_end_alone():
    """Against the oracle on the same rounded inputs: weights and values are rounded, no score."""
    wanted = encoding("dynamic_ntk", geometry())
    q, k, v = random_call(60, 100, heads=4, groups=2, dtype=torch.bfloat16)
    expected = attend_reference(4 * q, k, v, wanted)
    actual = attended(4 * q, k, v, wanted)
    assert actual.dtype == torch.bfloat16
    assert_close(actual.double(), expected, rtol=0, atol=3 * 2**-8)


def test_each_sequence_of_a_batch_has_its_own_lengths():
    """Two sequences that start at different positions, as left padding leaves them."""
    q, k, v = random_call(40, 40, batch=2)
    wanted = encoding("dynamic_ntk", geometry())
    index = torch.arange(40)
    positions = torch.stack([index, index + 17])
    together = attended(q, k, v, wanted, CausalRows(positions, positions))
    for b in range(2):
        alone = CausalRows(positions[b : b + 1], positions[b : b + 1])
        expected = attend_reference(q[b : b + 1], k[b : b + 1], v[b : b + 1], wanted, rows=alone)
        assert_close(together[b : b + 1], expected, rtol=0, atol=1e-13)


class Padded(CausalRows):
    """The first seven keys are padding; the first seven rows see nothing."""

    def allowed(self, first, last):
        stop, _ = super().allowed(first, last)
        keys, rows = torch.arange(stop), torch.arange(first, last)[:, None]
        return stop, ((keys >= 7) & (keys <= rows))[None, None]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("spec", ["dynamic_ntk", "dynamic_ntk:step=5", "dynamic_ntk:step=16"])
def test_padding_changes_nothing_and_blind_rows_stay_finite(spec):
    """Its positions do not follow each other: blocks of keys that are not alike."""
    q, k, v = random_call(70, 70)
    positions = (torch.arange(70) - 7).clamp(min=0)[None]
    actual = attended(q, k, v, encoding(spec, geometry()), Padded(positions, positions))
    alone = [x[:, :, 7:] for x in (q, k, v)]
    expected = attend_reference(*alone, encoding(spec, geometry()))
    assert_close(actual[:, :, 7:], expected, rtol=0, atol=1e-13)
    assert actual.isfinite().all()


def test_rotary_channels_may_lie_anywhere():
    q, k, v = random_call(50, 50, width=12)
    wanted = encoding("dynamic_ntk", geometry())
    actual = attended(q, k, v, wanted, first_channel=3)
    order = [*range(3, 11), 0, 1, 2, 11]
    expected = attend_reference(q[..., order], k[..., order], v, wanted)
    assert_close(actual, expected, rtol=0, atol=1e-13)


@settings(deadline=None)
@given(reach=st.floats(0, 0.4), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_terms_left_out_are_below_the_rounding(reach, dtype):
    """Taylor's formula for exp(-i x) in float64 at the largest x and around it."""
    terms = rank(reach, dtype)
    for x in (reach, -reach, reach / 2):
        series = sum((-1j * x) ** r / math.factorial(r) for r in range(terms))
        error = abs(series - complex(math.cos(x), -math.sin(x)))
        assert error <= torch.finfo(dtype).eps / 4 + 2**-52
    if terms > 1:
        assert reach ** (terms - 1) / math.factorial(terms - 1) > torch.finfo(dtype).eps / 4


def test_rows_of_one_frequency_take_one_term():
    assert rank(0.0, torch.float64) == 1
    assert rank(100.0, torch.float64) is None


SHORT, LONG = [1.0] * 4, [2.0] * 4


@pytest.mark.parametrize(
    "unfit",
    [
        encoding("rerope:window=4", geometry()),
        encoding("none", geometry()),
        encoding("dynamic_ntk:policy=at_birth", geometry()),
        encoding(
            "longrope", geometry(), short_factor=SHORT, long_factor=LONG, factor=4, start_tokens=2
        ),
    ],
    ids=["several regions", "one length", "settled keys", "angles with exceptions"],
)
def test_other_encodings_are_left_to_others(unfit):
    assert not applies(*random_call(4, 4), unfit, PLAIN)


def test_other_scores_and_gradients_are_left_to_others():
    q, k, v = random_call(4, 4)
    wanted = encoding("dynamic_ntk", geometry())
    assert not applies(q, k, v, wanted, Softmax(softcap=5.0))
    assert not applies(q, k, v, wanted, Softmax(sinks=torch.zeros(2)))
    assert not applies(q, k, v, wanted, Softmax(dropout=0.1))
    assert not applies(q.requires_grad_(), k, v, wanted, PLAIN)
