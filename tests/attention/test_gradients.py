"""Gradients of attention: finite differences of the forward, and the oracle's own."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from attention_inputs import Growing, PaddedSliding, Slopes, qkv, random
from ropewalk.attention import call as cutting
from ropewalk.attention import differentiable, lse_backward, tiled
from ropewalk.attention.lse import Partial, Seen, attend_lse
from ropewalk.attention.lse_backward import attend_lse_backward, plain_backward
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.tiled import attend
from ropewalk.attention.tiles import Sizes
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding

L0, DIM = 6, 8
GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)
SAME = {"rtol": 0, "atol": 1e-10}
SPECS = (
    "yarn:factor=4",
    "dynamic_ntk:step=3",
    "dynamic_ntk:policy=at_birth",
    "rerope:window=4",
    "self_extend:group_size=2,window=4",
    "dual_chunk:chunk_size=6,local_window=2",
    "string:shift=4,window=3",
    "rerope:window=4+dynamic_ntk:step=3",
    "log_n",
    "alibi",
)


@contextmanager
def cut_by(sizes):
    before, cutting.SIZES = cutting.SIZES, sizes
    try:
        yield
    finally:
        cutting.SIZES = before


SMALL = Sizes(tile_rows=8, masked_rows=8, least_rows=2, strip_rows=4, mask_numbers=64)


def inputs(**shape):
    return [x.requires_grad_() for x in qkv(**shape)]


def rows_of(name, queries, keys):
    return None if name == "causal" else PaddedSliding.of([0, 2], queries, keys, 7)


def slope(function, given, directions, step=1e-5):
    """Of ``function`` along ``directions``, by central differences."""
    with torch.no_grad():
        ends = [
            function(*(x + sign * step * d for x, d in zip(given, directions, strict=True)))
            for sign in (1, -1)
        ]
    return float(ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize("rows", ["causal", "padded and sliding"])
@pytest.mark.parametrize("spec", SPECS)
def test_finite_differences(spec, rows):
    """Along a random direction of each input alone. Rows of padding are left out."""
    if "at_birth" in spec and rows != "causal":
        pytest.skip("its keys are rotated before attention")
    q, k, v = inputs(queries=9, keys=11)
    sinks, weights = random(4, seed=5).requires_grad_(), (1 + random(DIM, seed=6)).requires_grad_()
    built, mix = encoding(spec, GEOMETRY), random(2, 4, 7, 5, seed=7)

    def mixed(q, k, v, sinks, weights):
        own = {"rows": rows_of(rows, 9, 11), "sinks": sinks, "channel_weights": weights}
        return (attend(q, k, v, built, **own)[:, :, 2:] * mix).sum()

    given = (q, k, v, sinks, weights)
    with cut_by(SMALL):
        mixed(*given).backward()
        for number, x in enumerate(given):
            directions = [torch.zeros_like(each) for each in given]
            directions[number] = random(*x.shape, seed=11 + number)
            exact = slope(mixed, given, directions)
            assert float((x.grad * directions[number]).sum()) == pytest.approx(
                exact, rel=1e-6, abs=1e-7
            )


@pytest.mark.parametrize("mods", [(Growing(),), (Slopes(),), (Growing(), Slopes())])
@pytest.mark.parametrize("spec", ["none", "rerope:window=4"])
def test_score_modifications_are_constants(spec, mods):
    built = replace(encoding(spec, GEOMETRY), score_mods=mods)
    found = []
    for function in (attend, attend_reference):
        given = inputs(queries=13)
        with cut_by(SMALL):
            function(*given, built).square().sum().backward()
        found.append([x.grad for x in given])
    assert_close(found[0], found[1], **SAME)


def test_the_fused_node_is_taken(monkeypatch):
    """Else these tests would be of the plain path."""
    taken = []

    def watched(*args, **given):
        taken.append(1)
        return differentiable.attend_differentiable(*args, **given)

    monkeypatch.setattr(tiled, "attend_differentiable", watched)
    for spec in SPECS:
        attend(*inputs(queries=9), encoding(spec, GEOMETRY))
    assert len(taken) == len(SPECS)


def whole_of(q, k, v, seen):
    """Attention over these keys and one more, which every row sees."""
    extra = [random(2, 2, 1, n, seed=n) for n in (k.shape[-1], v.shape[-1])]
    parts = (attend_lse(q, k, v, scale=0.4, seen=seen), attend_lse(q, *extra, scale=0.4))
    lse = torch.logaddexp(*(part.lse for part in parts))
    out = sum(part.out * (part.lse - lse).exp()[..., None] for part in parts)
    return Partial(out, lse)


MASK = torch.rand(2, 1, 9, 13, generator=torch.Generator().manual_seed(3)) < 0.6
MASK[0, :, 4] = False


@pytest.mark.parametrize("seen", [Seen.ALL, Seen.TOP_LEFT, MASK], ids=["all", "causal", "mask"])
@pytest.mark.parametrize("values", [5, DIM, 11], ids=["narrow", "equal", "wide"])
def test_the_kernel_computes_the_formula(seen, values):
    q, k, v = qkv(values=values)
    grad, whole = random(2, 4, 9, values, seed=8), whole_of(q, k, v, seen)
    found = attend_lse_backward(grad, q, k, v, whole, scale=0.4, seen=seen)
    exact = plain_backward(grad, q, k, v, whole, scale=0.4, seen=seen)
    for ours, theirs in ((found.q, exact.q), (found.k, exact.k), (found.v, exact.v)):
        assert_close(ours, theirs, **SAME)


def test_rows_that_see_nothing_send_nothing_back():
    q, k, v = qkv()
    mask = torch.zeros(1, 1, 9, 13, dtype=torch.bool)
    nothing = attend_lse(q, k, v, scale=0.4, seen=mask)
    grad = random(2, 4, 9, 5, seed=8)
    found = attend_lse_backward(grad, q, k, v, nothing, scale=0.4, seen=mask)
    assert not any(x.any() for x in (found.q, found.k, found.v))


@pytest.mark.parametrize("spec", ["yarn:factor=4", "rerope:window=4", "alibi"])
def test_without_a_kernel_the_formula_is_taken(spec, monkeypatch):
    found = []
    for kernel in (True, False):
        if not kernel:

            def refuse(*args):
                raise NotImplementedError

            monkeypatch.setattr(lse_backward, "_on_cpu", refuse)
        given = inputs(queries=13)
        attend(*given, encoding(spec, GEOMETRY)).square().sum().backward()
        found.append([x.grad for x in given])
    assert_close(found[0], found[1], **SAME)


@pytest.mark.parametrize("spec", ["dynamic_ntk:step=3", "rerope:window=4", "alibi"])
def test_half_precision_rounds_its_inputs_and_products_alone(spec):
    built, found = encoding(spec, GEOMETRY), []
    rounded = [x.to(torch.bfloat16) for x in qkv(queries=13)]
    for dtype in (torch.bfloat16, torch.float64):
        given = [x.detach().to(dtype, copy=True).requires_grad_() for x in rounded]
        attend(*given, built).sum().backward()
        found.append([x.grad.double() for x in given])
    for ours, exact in zip(*found, strict=True):
        assert_close(ours, exact, rtol=0, atol=2.0**-6 * float(exact.abs().max()))
