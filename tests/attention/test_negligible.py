"""Keys that a bias of the distance puts out of reach of every row are left out, and no others."""

import torch
from torch.testing import assert_close
from trained_encodings import in_pieces

from attention_inputs import qkv
from ropewalk.attention.call import Call
from ropewalk.attention.distances import DistanceBias
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding

HEADS, KEYS, DIM = 4, 512, 8
GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=1e4, trained_length=64)
SLOPES = torch.tensor([2**-2, 2**-4, 2**-6, 2**-8])
"""ALiBi's of four heads."""


def inputs(queries=KEYS):
    return qkv(1, HEADS, 2, queries, KEYS, DIM, DIM, dtype=torch.float32)


def bias_of(q, k):
    rotary = Rotary(encoding=encoding("alibi", GEOMETRY))
    found = DistanceBias.of(rotary, Call.causal(q, k), q)
    assert found is not None
    return found


def oracle(q, k, v, spec):
    return attend_reference(q.double(), k.double(), v.double(), encoding(spec, GEOMETRY)).float()


def test_distances_beyond_sixty_and_what_norms_allow_are_left_out():
    q, k, _ = inputs()
    scale = DIM**-0.5
    found = bias_of(q, k).certain(q, k, scale)
    longest = [(x[0] ** 2).sum(dim=-1).sqrt().amax(dim=-1) for x in (q, k)]
    for head, slope in enumerate(SLOPES):
        spread = 2 * scale * longest[0][head] * longest[1][head // 2]
        distances = found.highest - torch.arange(found.numbers.shape[1])
        left_out = found.numbers[head].isneginf()
        assert torch.equal(left_out, slope * distances.abs() > 60 + spread)
    assert found.numbers[0].isneginf().any()
    assert not found.numbers[3].isneginf().any()


def test_attention_is_the_oracle_where_keys_are_left_out():
    q, k, v = inputs()
    for spec in ("alibi", "alibi+temperature:tau=3"):
        assert_close(in_pieces(q, k, v, encoding(spec, GEOMETRY)), oracle(q, k, v, spec))


def test_a_far_key_that_outshouts_its_bias_is_kept():
    """The first key's score is 200 above all others, its bias at most 128 below."""
    q, k, v = inputs()
    q[..., 0], k[..., 0] = 20.0, 0.0
    k[:, :, 0, 0] = 200 / 20 * DIM**0.5
    expected = oracle(q, k, v, "alibi")
    assert_close(expected[0, 0, -1], v[0, 0, 0], rtol=1e-4, atol=1e-4)
    assert_close(in_pieces(q, k, v, encoding("alibi", GEOMETRY)), expected, rtol=1e-4, atol=1e-4)


def test_a_few_rows_read_no_norms():
    q, k, _ = inputs(queries=3)
    bias = bias_of(q, k)
    assert bias.certain(q, k, 1.0) is bias
