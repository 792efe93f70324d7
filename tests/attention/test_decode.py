"""One row a sequence over keys that were rotated before, against the oracle in float64.

What the room holds behind its keys is NaN here: nobody may read it.
"""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

from ropewalk.attention.call import Call
from ropewalk.attention.decode import step_of
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rotation import work_dtype
from ropewalk.core.rows import CausalRows
from ropewalk.methods.build import encoding

L0 = 24
PLAIN = Softmax()
LONG = RopeGeometry(head_dim=64, rope_theta=1e5, trained_length=8192)
"""As SmolLM2 has it."""


def geometry(pairing="half", share=1.0):
    return RopeGeometry(
        head_dim=8, rope_theta=1e4, trained_length=L0, partial_rotary_factor=share, pairing=pairing
    )


def rows_at(last, keys, batch=1):
    """Keys up to position ``last``, which is the row's own."""
    positions = torch.arange(last + 1 - keys, last + 1).expand(batch, keys)
    return CausalRows(positions[:, -1:], positions)


def random_call(keys, *, heads=4, groups=2, batch=1, width=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((heads, 1), (groups, keys), (groups, keys))
    return [
        torch.randn(batch, h, n, width, generator=generator, dtype=torch.float64).to(dtype)
        for h, n in shapes
    ]


def attended(q, k, v, step):
    room = k.new_full((*k.shape[:2], step.room, k.shape[3]), float("nan"))
    step.write_keys(k, room, ((0, k.shape[2]),))
    return step.attend(q, room, v, PLAIN)


def a_step(encoding, rows, dtype=torch.float64, first_channel=0):
    rotary = Rotary(encoding=encoding, first_channel=first_channel)
    return step_of(Call(rows), rotary, work_dtype(dtype))


DYNAMIC = ("dynamic_ntk:step=1", "dynamic_yarn:step=1")
MAPS = (
    "rerope:window=7",
    "leaky_rerope:window=7,slope=2.5",
    "self_extend:group_size=3,window=8",
    "dual_chunk:chunk_size=10,local_window=5",
    "string:shift=9,window=3",
)


@settings(max_examples=80, deadline=None)
@given(
    spec=st.sampled_from(
        [
            "none",
            "dynamic_ntk:step=1",
            "dynamic_yarn:step=1",
            *MAPS,
            "dual_chunk+dynamic_ntk:step=16",
        ]
    ),
    log_n=st.sampled_from(["", "+log_n"]),
    pairing=st.sampled_from(["half", "interleaved"]),
    share=st.sampled_from([1.0, 0.5]),
    groups=st.sampled_from([1, 2, 4]),
    keys=st.integers(1, 70),
)
@example("dynamic_yarn:step=1", "+log_n", "half", 0.5, 2, 60)
@example("dynamic_ntk:step=1", "", "interleaved", 1.0, 1, L0 + 1)
def test_a_row_is_what_the_oracle_says(spec, log_n, pairing, share, groups, keys):
    wanted = encoding(spec + log_n, geometry(pairing, share))
    q, k, v = random_call(keys, groups=groups)
    step = a_step(wanted, rows_at(keys - 1, keys))
    expected = attend_reference(q, k, v, wanted)
    assert_close(attended(q, k, v, step), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("last", [8192, 8300, 12_287, 40_000])
@pytest.mark.parametrize(
    ("dtype", "bound"),
    # Angles of 40,000 radians, rounded. Weighted means of values up to 3; scores of size 10 from
    # sums of 64 rounded products.
    [(torch.float64, 1e-11), (torch.float32, 3 * 10 * 8 * 2**-24)],
)
@pytest.mark.parametrize("spec", ["dynamic_ntk:step=1", "dynamic_yarn"])
def test_keys_far_from_0(spec, last, dtype, bound):
    wanted, rows = encoding(spec, LONG), rows_at(last, 600)
    q, k, v = random_call(600, heads=9, groups=3, width=64, dtype=dtype)
    step = a_step(wanted, rows, dtype)
    expected = attend_reference(3 * q, k, v, wanted, rows=rows)
    actual = attended(3 * q, k, v, step)
    assert actual.dtype == dtype
    assert_close(actual.double(), expected.double(), rtol=0, atol=bound)


@pytest.mark.parametrize("start_tokens", [0, 2])
def test_lists_that_replace_each_other(start_tokens):
    """LongRoPE: beyond the trained length L grows, and its frequencies stay."""
    lists = {"short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 4.0, 5.0]}
    wanted = encoding("longrope", geometry(), factor=4, start_tokens=start_tokens, **lists)
    for keys in (L0 - 1, L0, L0 + 1, L0 + 2, L0 + 9):
        q, k, v = random_call(keys)
        step = a_step(wanted, rows_at(keys - 1, keys))
        expected = attend_reference(q, k, v, wanted)
        assert_close(attended(q, k, v, step), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec", ["dynamic_yarn:step=1", "rerope:window=7", "none+log_n"])
def test_rotary_channels_may_lie_anywhere(spec):
    q, k, v = random_call(40, width=12)
    wanted = encoding(spec, geometry())
    actual = attended(q, k, v, a_step(wanted, rows_at(39, 40), first_channel=3))
    order = [*range(3, 11), 0, 1, 2, 11]
    expected = attend_reference(q[..., order], k[..., order], v, wanted)
    assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec", ["dynamic_ntk:step=1", "dynamic_ntk:step=64", "rerope:window=50"])
def test_half_precision_rounds_keys_weights_and_values_but_no_score(spec):
    """Against the oracle on the same rounded inputs. Turned keys are rounded once more."""
    wanted, rows = encoding(spec, LONG), rows_at(8300, 300)
    q, k, v = random_call(300, heads=9, groups=3, width=64, dtype=torch.bfloat16)
    expected = attend_reference(4 * q, k, v, wanted, rows=rows)
    actual = attended(4 * q, k, v, a_step(wanted, rows, torch.bfloat16))
    assert actual.dtype == torch.bfloat16
    assert_close(actual.double(), expected.double(), rtol=0, atol=6 * 2**-8)


class Masked(CausalRows):
    """Of the first sequence the first five keys are padding, of the second none."""

    visible = None

    def allowed(self, first, last):
        keys = torch.arange(self.key_positions.shape[1])
        return len(keys), torch.stack([keys >= 5, keys >= 0])[:, None, None]


@pytest.mark.parametrize("spec", ["dynamic_ntk:step=1", *MAPS])
def test_each_sequence_of_a_batch_has_its_own_l_and_regions(spec):
    q, k, v = random_call(40, batch=2)
    wanted = encoding(spec, geometry())
    index = torch.arange(40)
    positions = torch.stack([(index - 5).clamp(min=0), index])
    step = a_step(wanted, Masked(positions[:, -1:], positions))
    actual = attended(q, k, v, step)
    for b, start in ((0, 5), (1, 0)):
        alone = [x[b : b + 1, :, start:] for x in (k, v)]
        expected = attend_reference(q[b : b + 1], *alone, wanted)
        assert_close(actual[b : b + 1], expected, rtol=0, atol=1e-12)


def test_what_is_stale():
    """Window 7: key 32 is near to row 38 and far from row 39; the rest stays."""
    wanted = encoding("rerope:window=7", geometry())
    before, step = (a_step(wanted, rows_at(last, last + 1)) for last in (38, 39))
    assert step.stale(before.places) == ((32, 33), (39, 40))
    assert step.stale(None) == ((0, 40),)
    longer = a_step(encoding("dynamic_ntk:step=1", geometry()), rows_at(39, 40))
    shorter = a_step(encoding("dynamic_ntk:step=1", geometry()), rows_at(38, 39))
    assert longer.stale(shorter.places) == ((0, 40),)
    other = a_step(encoding("rerope:window=8", geometry()), rows_at(39, 40))
    assert step.stale(other.places) == ((0, 40),)
    assert a_step(wanted, rows_at(39, 40), first_channel=2).stale(before.places) == ((0, 40),)


def test_many_stale_ranges_are_rotated_as_one():
    """Five keys apart from each other had other positions."""
    wanted = encoding("none", geometry())
    index = torch.arange(40)[None]
    moved = index[:, :39] + (index[:, :39] % 8 == 3)
    before = a_step(wanted, CausalRows(index[:, 38:39], moved))
    assert a_step(wanted, CausalRows(index[:, -1:], index)).stale(before.places) == ((3, 40),)


@pytest.mark.parametrize("keys", [8, 20])
def test_fused_attention_may_hand_back_heads_that_lie_apart(keys, monkeypatch):
    """As it does on CUDA: rows first, then heads."""
    fused = functional.scaled_dot_product_attention

    def apart(*given, **settings):
        return fused(*given, **settings).transpose(1, 2).contiguous().transpose(1, 2)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", apart)
    method, rows = encoding("dynamic_ntk:step=16", geometry()), rows_at(keys - 1, keys)
    q, k, v = random_call(keys)
    actual = attended(q, k, v, a_step(method, rows))
    assert_close(actual, attend_reference(q, k, v, method), rtol=0, atol=1e-12)
