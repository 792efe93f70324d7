"""Laws of methods. Each asserts; tests run it over methods that promise it, and mutants."""

import pytest
import torch
from torch.testing import assert_close

from representative import (
    DIM,
    L0,
    THETA,
)
from ropewalk.core.rotation import rotate

LENGTHS = (L0, L0 + 1, 3 * L0, 16 * L0)


def random_vectors(count=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, DIM, generator=generator, dtype=torch.float64).to(dtype)


def plain_rope():
    return torch.tensor([THETA ** (-2 * i / DIM) for i in range(DIM // 2)], dtype=torch.float64)


def score(frequencies, length, m, n, turn=rotate, pairing="half", factor=1.0):
    """q.k of turned random vectors, with query positions ``m`` and key positions ``n``."""
    q, k = random_vectors().chunk(2)
    turned = [
        turn(x, frequencies.angles(positions, length), pairing=pairing, factor=factor)
        for x, positions in ((q, m), (k, n))
    ]
    return (turned[0] * turned[1]).sum(-1)


QUERIES, KEYS = torch.tensor([5, 200, 300, 700]), torch.tensor([5, 7, 250, 0])


def law_regions_cover_the_triangle_once(position_map, length=48):
    index = torch.arange(length)
    rows, keys = index[:, None], index[None, :]
    covered = sum(region.covers(rows, keys).int() for region in position_map.regions)
    below = keys <= rows
    assert_close(covered[below], torch.ones_like(covered[below]))


def law_bounds_never_fall(position_map, length=48):
    for region in position_map.regions:
        for bound in region.key_bounds(torch.arange(length)):
            assert (bound.diff() >= 0).all()


def law_distances_stay_in_range(distances_of, position_map, trained_length):
    """Up to the reach and no further: ``distances_of(length)`` is the matrix of all pairs."""
    reach = position_map.reach(trained_length)
    within = 12 * trained_length if reach is None else reach
    assert distances_of(within).nan_to_num(0).max() < trained_length
    assert reach is None or distances_of(reach + 1).nan_to_num(0).max() >= trained_length


def law_scores_depend_on_differences_alone(frequencies):
    for length in LENGTHS:
        there = score(frequencies, length, QUERIES, KEYS)
        moved = score(frequencies, length, QUERIES + 12345, KEYS + 12345)
        # Angles near 1.3e4 carry 2e-12 of rounding; 64 products of size 3 sum it up.
        assert_close(moved, there, rtol=0, atol=1e-9)


def law_score_is_the_equation(frequencies, turn=rotate, pairing="half"):
    """Re< q e^(i m theta), k e^(i n theta) > with pairs as complex numbers."""
    q, k = random_vectors().chunk(2)
    phase = (QUERIES - KEYS).double()[:, None] * frequencies.inv_freq(L0)
    product = as_complex(q, pairing) * as_complex(k, pairing).conj() * torch.exp(1j * phase)
    actual = score(frequencies, L0, QUERIES, KEYS, turn, pairing)
    assert_close(actual, product.real.sum(-1), rtol=0, atol=1e-10)


def as_complex(x, pairing):
    if pairing == "half":
        return torch.complex(x[:, : DIM // 2], x[:, DIM // 2 :])
    return torch.complex(x[:, 0::2].contiguous(), x[:, 1::2].contiguous())


def law_attention_factor_enters_a_logit_squared(frequencies, turn=rotate, factor=1.25):
    plain = score(frequencies, L0, QUERIES, KEYS, turn)
    longer = score(frequencies, L0, QUERIES, KEYS, turn, factor=factor)
    assert_close(longer, factor**2 * plain, rtol=1e-12, atol=1e-12)


def law_fastest_pair_is_kept(frequencies):
    for length in LENGTHS:
        assert frequencies.inv_freq(length)[0].item() == 1.0


def law_slowest_pair_is_divided(frequencies, factor):
    slowest = frequencies.inv_freq(L0)[-1].item()
    assert slowest == pytest.approx(plain_rope()[-1].item() / factor, rel=1e-13)


def law_constant_up_to_the_trained_length(frequencies):
    for length in (2, L0 // 3, L0 - 1):
        assert_close(frequencies.inv_freq(length), frequencies.inv_freq(L0), rtol=0, atol=0)
        assert frequencies.attention_factor(length) == frequencies.attention_factor(L0)


def law_follows_the_base(frequencies_of):
    """``frequencies_of(base)``: another base gives other frequencies."""
    first, second = frequencies_of(THETA).inv_freq(L0), frequencies_of(4 * THETA).inv_freq(L0)
    assert (first - second).abs().max() > 1e-3


def law_bf16_input_keeps_far_positions_apart(frequencies):
    """At position 100,000 a bf16 vector is turned to within its own final rounding.

    The oracle turns the same rounded vector in float64 by the exact angle. What may be lost is
    one rounding to bf16 (2^-9 of the value at most, 2^-8 allowed) and three float32 operations
    on terms no longer than the pair (2^-22 of it).
    """
    x = random_vectors(dtype=torch.bfloat16)
    positions = torch.tensor([100_000 + i for i in range(len(x))])
    oracle = turned_in_float64(x.double(), positions, frequencies.inv_freq(L0))
    actual = rotate(x, frequencies.angles(positions, L0)).double()
    first, second = x.double().chunk(2, dim=-1)
    pair_length = torch.hypot(first, second).repeat(1, 2)
    allowed = oracle.abs() * 2**-8 + pair_length * 2**-22
    assert ((actual - oracle).abs() <= allowed).all()


def turned_in_float64(x, positions, inv_freq):
    pairs = torch.complex(*x.chunk(2, dim=-1))
    turned = pairs * torch.exp(1j * positions.double()[:, None] * inv_freq)
    return torch.cat([turned.real, turned.imag], dim=-1)
