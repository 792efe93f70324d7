"""Rotation is complex multiplication, and rounds once."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from ropewalk.core import rotation
from ropewalk.core.errors import RopewalkError
from ropewalk.core.rotation import Turn, rotate

PAIRINGS = ("half", "interleaved")
FAR = 100_000


def random(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def complex_rotation(x, angles, pairing, first_channel=0, factor=1.0):
    """Pair by pair, in float64: (a + ib) * factor * exp(i angle)."""
    pairs = angles.shape[-1]
    out = x.double().expand(*torch.broadcast_shapes(x.shape[:-1], angles.shape[:-1]), -1).clone()
    for i in range(pairs):
        one, other = (i, i + pairs) if pairing == "half" else (2 * i, 2 * i + 1)
        one, other = one + first_channel, other + first_channel
        z = torch.complex(x[..., one].double(), x[..., other].double())
        turned = z * torch.exp(1j * angles[..., i].double())
        turned = turned * (factor[..., 0] if isinstance(factor, torch.Tensor) else factor)
        out[..., one], out[..., other] = turned.real, turned.imag
    return out


@given(
    pairing=st.sampled_from(PAIRINGS),
    pairs=st.integers(1, 4),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    lead=st.sampled_from([(), (5,), (2, 3, 5)]),
    factor=st.sampled_from([1.0, 0.7, 1.25]),
)
def test_a_turn_is_a_complex_product(pairing, pairs, before, after, lead, factor):
    x, angles = random(*lead, before + 2 * pairs + after), random(*lead, pairs, seed=1) * 100
    actual = rotate(x, angles, pairing=pairing, first_channel=before, factor=factor)
    expected = complex_rotation(x, angles, pairing, before, factor)
    assert_close(actual, expected, rtol=0, atol=1e-14)
    last = before + 2 * pairs
    assert torch.equal(actual[..., :before], x[..., :before])
    assert torch.equal(actual[..., last:], x[..., last:])


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_factor_may_differ_from_row_to_row(pairing):
    x, angles = random(2, 3, 5, 8), random(2, 1, 5, 3, seed=1)
    factor = torch.tensor([1.0, 1.5, 0.5, 2.0, 3.0], dtype=torch.float64)[:, None]
    expected = complex_rotation(x, angles, pairing, 1, factor)
    assert_close(
        rotate(x, angles, pairing=pairing, first_channel=1, factor=factor),
        expected,
        rtol=0,
        atol=1e-14,
    )


def test_angles_may_have_more_leading_dimensions_than_the_input():
    x, angles = random(8), random(2, 5, 3, seed=1)
    expected = complex_rotation(x, angles, "half")
    assert_close(rotate(x, angles), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_input_keeps_its_dtype_and_its_values(dtype):
    x = random(4, 8, dtype=dtype)
    before = x.clone()
    assert rotate(x, random(4, 4)).dtype == dtype
    assert torch.equal(x, before)


@settings(deadline=None)
@given(
    pairing=st.sampled_from(PAIRINGS),
    shape=st.sampled_from([(2, 3, 7, 10), (1, 1, 9, 10), (5, 10), (2, 1, 2, 3, 10)]),
    order=st.sampled_from(["dense", "transposed", "sliced", "expanded"]),
    leading_ones=st.integers(0, 1),
    numbers=st.sampled_from([1, 12, 50, 65, 10**6]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_tiles_of_any_size_and_any_layout_make_one_turn(
    pairing, shape, order, leading_ones, numbers, dtype
):
    x = laid_out(random(*shape, dtype=dtype), order)
    lead = ((1,) * leading_ones + shape[-2:-1])[-len(shape) + 1 :]
    angles = random(*lead, 4, seed=1) * 10
    with mock.patch.object(rotation, "TILE_NUMBERS", numbers):
        actual = rotate(x, angles, pairing=pairing, first_channel=1)
    assert (actual.shape, actual.dtype) == (x.shape, x.dtype)
    expected = complex_rotation(x, angles, pairing, 1)
    # Numbers up to 5: float32 products of pairs, and one rounding to the dtype.
    room = {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 4 * 2**-8}[dtype]
    assert_close(actual.double(), expected.double(), rtol=0, atol=room)


def laid_out(x, order):
    """The same numbers, elsewhere in memory."""
    if order == "transposed":
        return x.transpose(0, -2).contiguous().transpose(0, -2)
    if order == "sliced":
        return torch.cat([x, x], dim=-1)[..., : x.shape[-1]]
    return x[:1].expand(x.shape) if order == "expanded" else x


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_one_turn_serves_all_tensors_of_its_positions(pairing):
    angles = random(1, 6, 3, seed=1) * 10
    turn = Turn.by(angles, pairing=pairing, first_channel=1, factor=1.5)
    for x in (random(4, 6, 8), random(2, 6, 8), random(2, 3, 6, 7), random(8)):
        expected = complex_rotation(x, angles, pairing, 1, 1.5)
        assert_close(turn.of(x), expected, rtol=0, atol=1e-14)
        out = torch.full_like(expected, torch.nan)
        turn.write(x, out)
        assert_close(out, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_turn_of_pairs_is_any_complex_product(pairing):
    """Cosines and sines need not be those of an angle."""
    number = torch.complex(random(5, 4), random(5, 4, seed=1))
    x = random(2, 5, 8)
    turn = Turn.of_wave(number, pairing=pairing, first_channel=0, dtype=torch.float64)
    actual = turn.of(x)
    expected = complex_rotation(x, number.angle(), pairing)
    for i in range(4):
        one, other = (i, i + 4) if pairing == "half" else (2 * i, 2 * i + 1)
        expected[..., [one, other]] *= number[:, i, None].abs()
    assert_close(actual, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_no_worse_than_the_library_far_out(dtype):
    """At position 100,000, against the exact turn of the same rounded vector.

    Two float32 operations and one rounding, where the library rounds cos, sin, both
    products and their sum to the input's dtype.
    """
    width = 64
    inv_freq = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    positions = torch.arange(FAR, FAR + 64, dtype=torch.float64)
    angles = positions[:, None] * inv_freq
    x = random(1, 2, 64, width, dtype=dtype)
    stock_angles = positions.float()[:, None] * inv_freq.float()
    cos, sin = (torch.cat([f, f], -1)[None].to(dtype) for f in trigonometry(stock_angles))
    theirs, _ = apply_rotary_pos_emb(x, x, cos, sin)
    oracle = complex_rotation(x, angles, "half")
    error = (rotate(x, angles).double() - oracle).abs()
    stock_error = (theirs.double() - oracle).abs()
    assert error.max() < stock_error.max()
    assert error.mean() < stock_error.mean()
    # One rounding to nearest, after float32 arithmetic on pairs of length 4 at most.
    assert (error <= oracle.abs() * torch.finfo(dtype).eps / 2 + 4 * 2**-22).all()


def trigonometry(angles):
    return angles.cos(), angles.sin()


def test_float32_input_has_exact_angles_at_a_million():
    """The angle is reduced in float64: only float32 arithmetic on the pair is left."""
    x, angles = random(16, 2, dtype=torch.float32), (1e6 + random(16, 1)).abs()
    oracle = complex_rotation(x, angles, "half")
    assert_close(rotate(x, angles).double(), oracle, rtol=0, atol=4 * 2**-22)
    rounded = complex_rotation(x, angles.float(), "half")
    assert (rounded - oracle).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_angles_of_low_precision_are_refused(dtype):
    with pytest.raises(RopewalkError, match="expected float32 or float64"):
        rotate(random(4, 8), torch.zeros(4, 4, dtype=dtype))


@pytest.mark.parametrize(("pairs", "first"), [(5, 0), (4, 1), (1, 7)])
def test_more_pairs_than_channels_are_refused(pairs, first):
    with pytest.raises(RopewalkError, match="at most 8 channels"):
        rotate(random(4, 8), random(4, pairs), first_channel=first)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_gradients_are_those_of_the_turn(pairing):
    x, angles = random(2, 3, 7).requires_grad_(), random(3, 2, seed=1).requires_grad_()
    factor = torch.tensor([1.1], dtype=torch.float64, requires_grad=True)

    def turned(x, angles, factor):
        return rotate(x, angles, pairing=pairing, first_channel=2, factor=factor)

    assert torch.autograd.gradcheck(turned, (x, angles, factor))
    expected = complex_rotation(x.detach(), angles.detach(), pairing, 2, 1.1)
    assert_close(turned(x, angles, factor).detach(), expected, rtol=0, atol=1e-14)
