"""Softcap, sinks and low precision against the oracle."""

import math

import pytest
import torch
from small_encodings import DIM, ENCODINGS, GEOMETRY, L0
from torch.testing import assert_close

import ropewalk as rw
from attention_inputs import PaddedSliding, Slopes, qkv
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.tiled import attend
from ropewalk.scores.alibi import ALiBi

SAME = {"rtol": 0, "atol": 1e-10}


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
