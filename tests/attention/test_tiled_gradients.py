"""Tiles with gradients, softcaps, sinks and dropout are the oracle."""

from dataclasses import dataclass, replace

import pytest
import torch
from tile_cases import DIM, L0, MAPS, causal, cut_by
from torch.testing import assert_close

from attention_inputs import Growing, Slopes, qkv, random
from ropewalk.attention.call import Call
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend, attend_in
from ropewalk.attention.tiles import Sizes
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.score_mods import ScoreMod
from ropewalk.methods.build import encoding
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.rerope import ReRoPE

SAME = {"rtol": 0, "atol": 1e-10}


GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)


PLAIN = encoding("none", GEOMETRY)


SMALL = Sizes(tile_rows=5, masked_rows=3, least_rows=2, strip_rows=4, mask_numbers=24)


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("queries", [1, 9])
def test_channels_weights_and_scales_of_the_architecture(pairing, queries):
    """Rotary channels after others, weighted products, a softmax scale and a value width."""
    geometry = replace(GEOMETRY, partial_rotary_factor=0.5, pairing=pairing)
    built = replace(
        encoding("yarn:factor=4", geometry), position_map=DualChunk(chunk_size=4, local_window=2)
    )
    q, k, v = qkv(queries=queries)
    weights = random(DIM, seed=7)
    order = [2, 3, 4, 5, 0, 1, 6, 7]
    with cut_by(SMALL):
        actual = attend(q, k, v, built, first_channel=2, channel_weights=weights, softmax_scale=0.7)
    # Weights that commute with the rotation may be taken from the products into the query.
    pairs = {"half": [0, 1, 0, 1], "interleaved": [0, 0, 1, 1]}[pairing]
    even = weights.clone()
    even[2:6] = weights[2:6][pairs]
    with cut_by(SMALL):
        commuting = attend(q, k, v, built, first_channel=2, channel_weights=even, softmax_scale=0.7)
    oracle = attend_reference((q * even)[..., order], k[..., order], v, built, softmax_scale=0.7)
    assert_close(commuting, oracle, **SAME)
    assert (actual - commuting).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["rerope", "dual chunk", "self extend"])
@pytest.mark.parametrize("queries", [1, 13])
def test_softcap_is_the_oracle(name, queries):
    built = replace(PLAIN, position_map=MAPS[name], score_mods=(Slopes(),))
    q, k, v = qkv(queries=queries)
    own = {"softcap": 1.5, "sinks": torch.tensor([-1.0, 0.0, 2.0, 0.5])}
    assert_close(attend(q, k, v, built, **own), attend_reference(q, k, v, built, **own), **SAME)


@pytest.mark.parametrize("sinks", [None, torch.tensor([-1.0, 0.0, 2.0, 0.5]).double()])
@pytest.mark.parametrize("name", MAPS)
def test_gradients_are_those_of_the_oracle(name, sinks):
    built = replace(PLAIN, position_map=MAPS[name], score_mods=(Growing(),))
    grads = []
    for function in (attend, attend_reference):
        inputs = [x.requires_grad_() for x in qkv()]
        own = None if sinks is None else sinks.clone().requires_grad_()
        function(*inputs, built, sinks=own).square().sum().backward()
        grads.append([x.grad for x in (*inputs, *([] if own is None else [own]))])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, **SAME)


def test_sinks_alone_may_be_learned():
    grads = []
    for function in (attend, attend_reference):
        sinks = random(4, seed=9).requires_grad_()
        function(*qkv(), PLAIN, sinks=sinks).square().sum().backward()
        grads.append(sinks.grad)
    assert_close(*grads, **SAME)


@pytest.mark.parametrize("name", MAPS)
def test_what_inference_kept_serves_training(name):
    """Tensors made in inference mode may not be saved for a backward pass."""
    built = replace(PLAIN, position_map=MAPS[name])
    with torch.inference_mode():
        attend(*qkv(queries=11, keys=11), built)
    attend(*qkv(queries=11, keys=11), built)
    inputs = [x.requires_grad_() for x in qkv(queries=11, keys=11)]
    attend(*inputs, built).square().sum().backward()
    assert all(x.grad.isfinite().all() for x in inputs)


@dataclass(frozen=True, eq=False)
class Learned(ScoreMod):
    """A bias for each head that falls with the distance, and a scale, both to be learned."""

    slopes: torch.Tensor
    scale: torch.Tensor

    def query_scale(self, rows):
        return self.scale * torch.ones_like(rows, dtype=torch.float64)

    def bias(self, heads, rows, keys):
        return self.slopes.view(-1, *[1] * (rows - keys).ndim) * (keys - rows)


@pytest.mark.parametrize("name", ["yarn:factor=4", "rerope:window=4"])
def test_score_modifications_alone_may_be_learned(name):
    grads = []
    for function in (attend, attend_reference):
        slopes = random(4, seed=5).requires_grad_()
        scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        built = replace(encoding(name, GEOMETRY), score_mods=(Learned(slopes, scale),))
        function(*qkv(), built).square().sum().backward()
        grads.append([slopes.grad, scale.grad])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, **SAME)


def test_dropout_drops():
    q, k, v = qkv(queries=13)
    built = replace(PLAIN, position_map=ReRoPE(window=4))
    torch.manual_seed(0)
    dropped = attend(q, k, v, built, dropout=0.5)
    assert (dropped - attend(q, k, v, built)).abs().max() > 0.1


def test_turned_queries_and_keys_take_sinks():
    """Keys that settle at birth are turned before; their pieces are those of one region."""
    q, k, v = qkv(queries=9, keys=13)
    sinks = torch.tensor([-1.0, 0.0, 2.0, 0.5])
    with cut_by(SMALL):
        unrotated = Rotary(encoding=PLAIN.unrotated())
        actual = attend_in(Call.causal(q, k), q, k, v, unrotated, Softmax(sinks=sinks))
    still = replace(PLAIN, position_map=ReRoPE(window=1))  # every distance is 0 or 1
    scores = torch.einsum("bhmd,bhnd->bhmn", q, k.repeat_interleave(2, dim=1)) * DIM**-0.5
    seen = causal(torch.ones(9, 13, dtype=torch.bool))
    scores = scores.masked_fill(~seen, -torch.inf)
    column = sinks.double()[None, :, None, None].expand(2, 4, 9, 1)
    weights = torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]
    assert_close(actual, weights @ v.repeat_interleave(2, dim=1), **SAME)
    assert (attend(q, k, v, still) - actual).abs().max() > 1e-3
