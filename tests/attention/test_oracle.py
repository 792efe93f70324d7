"""The oracle against the equation, spelled out with complex numbers."""

import cmath
import math

import pytest
import torch
from small_encodings import DIM, GEOMETRY, L0, ReRoPE, dynamic, method
from torch.testing import assert_close

from attention_inputs import Growing, Slopes, qkv
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.tiled import attend
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.lengths import AtBirth, Fixed
from ropewalk.core.regions import Identity
from ropewalk.core.rows import CausalRows

SAME = {"rtol": 0, "atol": 1e-10}


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


# The oracle against the equation, spelled out with complex numbers.


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
