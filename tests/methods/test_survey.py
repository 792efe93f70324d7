"""What the survey of position encodings says of them, as properties that a test can hold."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from attention_inputs import qkv
from ropewalk.attention.reference import attend_reference
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rotation import rotate
from ropewalk.core.rows import CausalRows
from ropewalk.inputs.sinusoidal import Sinusoidal
from ropewalk.methods.build import encoding
from ropewalk.scores.alibi import GeometricSlopes, PressSlopes

L0 = 256
GEOMETRY = RopeGeometry(head_dim=64, rope_theta=1e4, trained_length=L0)
SAME = {"rtol": 0, "atol": 1e-12}


class BothWays(CausalRows):
    """Every row sees every key."""

    def allowed(self, first, last):
        return self.key_positions.shape[1], None


def attended(q, k, v, rows=None):
    return attend_reference(q, k, v, encoding("nope", replace(GEOMETRY, head_dim=8)), rows=rows)


def shuffled(order, *tensors):
    return [x[:, :, order] for x in tensors]


def test_attention_without_positions_is_permutation_equivariant_and_a_causal_mask_breaks_it():
    q, k, v = qkv(queries=9, keys=9)
    order = torch.tensor([4, 0, 7, 2, 8, 1, 3, 6, 5])
    index = torch.arange(9).expand(2, 9)
    both = BothWays(index, index)
    moved = attended(*shuffled(order, q, k, v), rows=both)
    assert_close(moved, attended(q, k, v, rows=both)[:, :, order], **SAME)
    causal = attended(*shuffled(order, q, k, v))
    assert (causal - attended(q, k, v)[:, :, order]).abs().max() > 0.1


def test_products_of_sinusoids_depend_on_the_distance_alone_and_decay_in_waves():
    positions = torch.arange(2000)
    table = Sinusoidal().added({}, positions, 128)
    products = table @ table.T
    for distance in (0, 1, 7, 100):
        diagonal = products.diagonal(distance)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-9)
    by_distance = products[0]
    assert by_distance[0] == pytest.approx(64)
    tops = [by_distance[start : 2 * start].abs().max() for start in (1, 8, 64, 512)]
    assert all(nearer > farther for nearer, farther in pairwise(tops))
    falls = by_distance.diff() < 0
    assert falls.any()
    assert (~falls).any()  # in waves: not monotonically


def test_rope_keeps_the_length_of_each_pair():
    x = torch.randn(5, 64, dtype=torch.float64)
    turned = rotate(x, encoding("none", GEOMETRY).frequencies.angles(torch.arange(5) * 999, L0))
    for pair in range(32):
        lengths = [torch.hypot(each[:, pair], each[:, pair + 32]) for each in (x, turned)]
        assert_close(*lengths, **SAME)


def test_the_matrix_and_the_element_wise_form_of_rope_are_one():
    """R x with the sparse matrix of 2 x 2 blocks, and x cos + rotated x sin."""
    x, position = torch.randn(64, dtype=torch.float64), 37
    theta = [1e4 ** (-2 * i / 64) for i in range(32)]
    matrix = torch.zeros(64, 64, dtype=torch.float64)
    for i, each in enumerate(theta):
        c, s = math.cos(position * each), math.sin(position * each)
        block = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    angles = torch.tensor([position * each for each in theta], dtype=torch.float64)
    twice = angles.repeat_interleave(2)
    other = torch.stack([-x[1::2], x[0::2]], dim=-1).flatten()
    assert_close(x * twice.cos() + other * twice.sin(), matrix @ x, **SAME)
    assert_close(rotate(x, angles, pairing="interleaved"), matrix @ x, **SAME)


def test_interpolated_positions_are_interpolated_frequencies():
    positions, factor = torch.arange(0, 4096, 37), 4
    plain, linear = encoding("none", GEOMETRY), encoding("linear:factor=4", GEOMETRY)
    assert_close(
        plain.frequencies.angles(positions / factor, L0),
        linear.frequencies.angles(positions, L0),
        rtol=1e-14,
        atol=0,
    )


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_ntk_aware_is_pi_at_the_last_pair_leaves_the_first_and_its_middle_leaves_the_range(factor):
    """The appendix of the survey: inside, pairs see angles that training never showed.

    A pair that turned less than once in training has seen angles up to L0 theta; NTK-aware at
    factor L0 shows the middle ones more. NTK-by-parts shows none of them more.
    """
    plain = encoding("none", GEOMETRY).frequencies.inv_freq(L0)
    ntk = encoding("ntk_aware", GEOMETRY, factor=factor).frequencies.inv_freq(L0)
    parts = encoding("ntk_by_parts", GEOMETRY, factor=factor, ramp="paper").frequencies.inv_freq(L0)
    assert ntk[-1].item() == pytest.approx(plain[-1].item() / factor, rel=1e-12)
    assert ntk[0] == plain[0]
    slow = plain * L0 < 2 * math.pi
    assert slow.sum() > 8
    beyond = ntk * factor * L0 > plain * L0 * (1 + 1e-9)
    assert beyond[slow][:-1].all()
    assert not (parts * factor * L0 > plain * L0 * (1 + 1e-9))[slow].any()


@pytest.mark.parametrize("factor", [2.0, 8.0, 32.0])
def test_longrope_s_magnitude_is_log_n_at_the_target_length(factor):
    """Squared, sqrt(1 + ln s / ln L0) is ln(s L0) / ln L0: log-n's scale of the last row."""
    lists = {"short_factor": [1.0] * 32, "long_factor": [factor] * 32}
    longrope = encoding("longrope", GEOMETRY, factor=factor, **lists)
    target = int(factor * L0)
    magnitude = longrope.frequencies.attention_factor(target)
    scale = encoding("log_n", GEOMETRY).query_scale(torch.tensor(target - 1))
    assert magnitude**2 == pytest.approx(scale.item(), rel=1e-12)


@pytest.mark.parametrize("heads", [1, 8, 12, 32])
def test_slopes_of_alibi_are_geometric_and_end_at_2_to_the_minus_8(heads):
    slopes = GeometricSlopes().of(heads)
    assert slopes[-1].item() == pytest.approx(2**-8, rel=1e-14)
    assert_close(slopes[1:] / slopes[:-1], torch.full_like(slopes[1:], 2 ** (-8 / heads)))
    if heads & (heads - 1) == 0:
        assert_close(PressSlopes().of(heads), slopes, rtol=1e-14, atol=0)
    else:
        assert (PressSlopes().of(heads) - slopes).abs().max() > 0.05
