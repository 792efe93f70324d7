"""Precision, fingerprints, gradients, and keys that settle at birth."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

import ropewalk as rw
from recipes.families.sharpened import logits, tiny, token_ids
from ropewalk.attention.call import Call
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.softmax import Softmax
from ropewalk.core.frequencies import Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import AtBirth
from ropewalk.core.rows import CausalRows
from ropewalk.integrations.attending import attention_of
from ropewalk.integrations.heads import Direction, HeadLayout

SPECS = ("yarn:factor=2.5", "dynamic_ntk", "log_n", "rerope:window=12")


LINEAR_IN_FLOAT64 = {"rtol": 0, "atol": 1e-12}


# Precision.


@pytest.mark.parametrize("spec", SPECS)
def test_a_later_change_of_dtype_does_not_reach_the_angles(spec):
    ids = token_ids(1, 60)
    first, second = (tiny(num_hidden_layers=2, dtype=torch.float32) for _ in range(2))
    with rw.extend(first, spec):
        first.to(torch.bfloat16)
        early = logits(first, ids)
    second.to(torch.bfloat16)
    with rw.extend(second, spec):
        assert torch.equal(logits(second, ids), early)


@pytest.mark.parametrize("spec", SPECS)
def test_bf16_is_as_near_to_float64_as_the_library_is(spec):
    """On the same rounded weights, with room for another order of sums."""
    ids = token_ids(1, 60)
    exact = tiny(num_hidden_layers=2)
    for parameter in exact.parameters():
        parameter.data = parameter.data.bfloat16().double()
    model = copy.deepcopy(exact)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    stock_error = (logits(model, ids).double() - logits(exact, ids)).abs().mean()
    with rw.extend(model, spec), rw.extend(exact, spec):
        error = (logits(model, ids).double() - logits(exact, ids)).abs().mean()
    assert error < 1.5 * stock_error


def fingerprint(model, spec):
    with rw.extend(model, spec) as extension:
        return extension.describe()["fingerprint"]


# Fingerprints.


def test_fingerprints_tell_methods_apart_and_nothing_else(llama):
    specs = (
        "none", "linear:factor=2", "linear:factor=4", "yarn:factor=2", "yarn:factor=4",
        "dynamic_ntk", "dynamic_ntk:factor=4", "abf:rope_theta=20000",
        "dynamic_ntk:policy=whole_sequence", "dynamic_ntk:policy=at_birth", "dynamic_ntk:step=8",
        "log_n", "temperature:tau=2", "yarn:factor=2+log_n",
    )  # fmt: skip
    prints = {spec: fingerprint(llama, spec) for spec in specs}
    assert len(set(prints.values())) == len(specs)
    assert fingerprint(tiny(num_hidden_layers=2), "yarn:factor=2") == prints["yarn:factor=2"]
    assert fingerprint(llama, "yarn:factor=2.0,beta_fast=32") == prints["yarn:factor=2"]


def with_norms_in_float64(model):
    """The library's norms compute in float32, whose rounding would drown a difference."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if "RMSNorm" in type(norm).__name__:
                exact = nn.RMSNorm(len(norm.weight), eps=norm.variance_epsilon)
                exact.weight = norm.weight
                setattr(parent, name, exact)
    return model


# Gradients.


@pytest.mark.parametrize(
    "spec",
    [
        "yarn:factor=2.5",
        "dynamic_ntk",
        "dynamic_ntk:policy=at_birth",
        "rerope:window=12",
        "dual_chunk:chunk_size=12,local_window=4",
        "self_extend:group_size=4,window=9+dynamic_ntk:step=8",
    ],
)
def test_gradients_are_finite_differences(spec):
    model = with_norms_in_float64(tiny(num_hidden_layers=2)).train()
    ids = token_ids(2, 44)
    weight = model.model.layers[0].self_attn.k_proj.weight

    def loss():
        predicted = model(ids[:, :-1], use_cache=False).logits
        return functional.cross_entropy(predicted.flatten(0, 1), ids[:, 1:].flatten())

    with rw.extend(model, spec):
        assert model.training
        loss().backward()
        step = 1e-5
        for row, column in ((0, 0), (9, 5), (20, 40), (31, 63)):
            with torch.no_grad():
                weight[row, column] += step
                above = loss()
                weight[row, column] -= 2 * step
                below = loss()
                weight[row, column] += step
            # Central differences: an error of step^2, and rounding of 1e-16 / step.
            numeric = (above - below) / (2 * step)
            assert_close(weight.grad[row, column], numeric, rtol=1e-6, atol=1e-9)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# Keys that settle at birth.


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("name", ["dynamic_ntk", "dynamic_yarn"])
def test_a_query_is_turned_on_from_the_length_of_its_call_to_its_own(name, direction):
    """The attention gets q and k turned by the rotary module under the call's L."""
    geometry = RopeGeometry(head_dim=8, rope_theta=50.0, trained_length=6)
    built = rw.encoding(name, geometry, policy="at_birth")
    assert built.length_policy == AtBirth(trained_length=6)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, heads, 10, 8, generator=generator, dtype=torch.float64)
        for heads in (4, 2, 2)
    )
    rows = CausalRows.of(2, 10, 10, torch.device("cpu"))
    now, born = rows.query_positions, torch.full((2, 10), 10)
    heads = HeadLayout(direction=direction)
    turning = heads.directed(built)
    q_born, k_born = (
        turning.turn(side, now[:, None], 10).of(x) for x, side in ((q, Side.QUERY), (k, Side.KEY))
    )
    actual = attention_of(built, heads, 0).attend(q_born, k_born, v, Call(rows), Softmax())
    oracle = attend_reference(q, k, v, turning, key_lengths=born)
    assert_close(actual, oracle, **LINEAR_IN_FLOAT64)
