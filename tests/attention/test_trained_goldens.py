"""Learned biases and decaying waves: goldens, the libraries where right, far positions."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close
from trained_encodings import DIM, GEOMETRY, HEADS, built, in_blocks, in_pieces, inputs
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from attention_inputs import qkv
from places import GOLDENS
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.tiled import attend
from ropewalk.core.encoding import KeyStorage
from ropewalk.core.frequencies import Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rows import CausalRows
from ropewalk.frequencies.xpos import XPos
from ropewalk.methods.build import encoding
from ropewalk.scores.alibi import ALiBi, GeometricSlopes, PressSlopes
from ropewalk.scores.t5_bias import T5Bias

CASES = json.loads((GOLDENS / "cases.json").read_text())["cases"]


def goldens(kind):
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def golden(actual, expected):
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert_close(actual, wanted, rtol=1e-12, atol=0)


# Goldens, and the libraries where they are right.


@pytest.mark.parametrize("case", goldens("alibi_slopes"))
def test_slopes_are_golden(case):
    rule = {"press": PressSlopes(), "geometric": GeometricSlopes()}[case["params"]["rule"]]
    golden(rule.of(case["params"]["num_heads"]), case["expected"]["slopes"])


@pytest.mark.parametrize("heads", [1, 2, 3, 7, 12, 16, 20, 40])
def test_slopes_are_those_of_the_library_of_alibi(heads):
    """MPT of transformers: slopes and key positions, in float32."""
    bias = build_mpt_alibi_tensor(heads, 9, alibi_bias_max=8)
    rows, keys = torch.tensor([[8]]), torch.arange(9)[None]
    own = ALiBi(slopes=PressSlopes()).bias(heads, rows, keys)
    if heads & (heads - 1) == 0:
        assert_close(bias[:, 0].double(), own[:, 0], rtol=1e-6, atol=0)
    sorted_own = own[:, 0, 0].sort().values
    assert len(sorted_own.unique()) == heads


@pytest.mark.parametrize("case", goldens("t5_buckets"))
def test_buckets_are_golden(case):
    params = case["params"]
    bias = T5Bias(
        buckets=params["num_buckets"],
        max_distance=params["max_distance"],
        direction="bidirectional" if params["bidirectional"] else "causal",
    )
    distances = -torch.tensor(params["relative_position"])
    assert bias.bucket(distances).tolist() == case["expected"]["buckets"]


@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (16, 64), (32, 256)])
def test_buckets_are_those_of_transformers(direction, buckets, most):
    distances = torch.arange(-600, 600)
    own = T5Bias(buckets=buckets, max_distance=most, direction=direction).bucket(distances)
    both = direction == "bidirectional"
    library = T5Attention._relative_position_bucket(-distances, both, buckets, most)
    assert torch.equal(own, library)


def test_alibi_t5_and_xpos_are_those_of_x_transformers():
    library = pytest.importorskip("x_transformers.x_transformers")
    q, k, v = qkv(batch=1, key_heads=HEADS, queries=13, keys=13, values=DIM, dtype=torch.float32)
    alibi = library.AlibiPositionalBias(HEADS)(13, 13)
    table = library.RelativePositionBias(scale=1, causal=True, heads=HEADS)
    t5 = table(13, 13).detach()
    weights = {"t5_bias": table.relative_attention_bias.weight.detach()}
    causal = torch.full((13, 13), -math.inf).triu(1)
    for spec, bias, parameters in (("alibi", alibi, {}), ("t5_bias", t5, weights)):
        expected = functional.scaled_dot_product_attention(q, k, v, bias + causal)
        actual = attend_reference(q, k, v, built(spec), parameters=parameters)
        assert_close(actual.float(), expected, rtol=0, atol=2e-6)
    rotary = library.RotaryEmbedding(DIM, use_xpos=True, base=50.0)
    freqs, scale = rotary.forward_from_seq_len(13)
    turned = library.apply_rotary_pos_emb(q, freqs, scale)
    other = library.apply_rotary_pos_emb(k, freqs, scale**-1)
    expected = functional.scaled_dot_product_attention(turned, other, v, is_causal=True)
    geometry = replace(GEOMETRY, pairing="interleaved")
    actual = attend_reference(q, k, v, built("xpos", geometry))
    assert_close(actual.float(), expected, rtol=0, atol=2e-6)


# xPos far away.


def test_xpos_scales_are_golden():
    (case,) = [case for case in CASES if case["kind"] == "xpos_scale"]
    params, expected = case["params"], case["expected"]
    geometry = RopeGeometry(head_dim=params["rotary_dim"], rope_theta=1e4, trained_length=2048)
    waves = XPos(geometry=geometry, scale_base=params["scale_base"], gamma=params["gamma"])
    positions = torch.tensor(params["positions"])
    golden(waves.zeta, expected["zeta"])
    golden(waves.size(positions, 2048, Side.QUERY), expected["scale"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_xpos_is_finite_and_right_at_100_000_tokens(dtype):
    """Sizes counted from 0 leave float16 at 9,216 tokens and float32 before 82,000.

    float64 holds them: 0.29^(100,000 / 512) is 1e-106, so the formula can be read literally.
    """
    keys, geometry = 100_000, RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=2048)
    built_far = encoding("xpos", geometry)
    q, k, v = (x.to(dtype) for x in qkv(1, 2, 1, 3, keys, 16, 16))
    waves = built_far.frequencies
    places = torch.arange(keys)
    turned = [
        built_far.turn(side, at, 2048).of(x.double())
        for x, side, at in ((q, Side.QUERY, places[-3:]), (k, Side.KEY, places))
    ]
    assert waves.size(places[-1:], 2048, Side.KEY).max() > torch.finfo(torch.float32).max
    scores = turned[0] @ turned[1].transpose(-1, -2) / 4
    scores[..., -3:] += torch.full((3, 3), -math.inf).triu(1)
    expected = scores.softmax(-1) @ v.double()
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5}.get(dtype, 2e-3)
    for stop in (keys - 2, keys - 1, keys):
        one = attend(
            q[:, :, : stop - keys + 3][:, :, -1:], k[:, :, :stop], v[:, :, :stop], built_far
        )
        assert_close(one[:, :, 0].double(), expected[:, :, stop - keys + 2], rtol=0, atol=tolerance)
    whole = attend(q, k, v, built_far)
    assert_close(whole.double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("start", [0, 1_000_000])
def test_xpos_does_not_care_where_positions_start(start):
    q, k, v = inputs()
    index = torch.arange(13).expand(2, 13) + start
    rows = CausalRows(index[:, 4:], index)
    for way in (in_pieces, in_blocks):
        moved = way(q, k, v, built("xpos:scale_base=4"), rows=rows)
        assert_close(moved, in_pieces(q, k, v, built("xpos:scale_base=4")), rtol=0, atol=1e-8)


def test_xpos_keys_are_stored_unrotated():
    assert built("xpos").key_storage is KeyStorage.UNROTATED
    assert not built("xpos").rotation_only
