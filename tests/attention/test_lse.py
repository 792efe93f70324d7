"""The wrapper of fused kernels is attention with its log-sum-exp, whatever the kernel's traps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ropewalk.attention import lse
from ropewalk.attention.lse import Partial, Seen, attend_lse, by_group, plain_lse
from ropewalk.attention.merge import Merger

SAME = {"rtol": 0, "atol": 1e-12}
RAW = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def random(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def qkv(batch=2, heads=4, groups=2, rows=5, keys=7, width=8, values=8, dtype=torch.float64):
    shapes = ((heads, rows, width), (groups, keys, width), (groups, keys, values))
    return [random(batch, *shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)]


def visible(seen, rows, keys):
    """What a rule or a mask adds to the scores."""
    if seen is Seen.ALL:
        return torch.zeros(rows, keys, dtype=torch.float64)
    if seen is Seen.TOP_LEFT:
        seen = torch.arange(rows)[:, None] >= torch.arange(keys)
    if seen.dtype == torch.bool:
        return torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -torch.inf)
    return seen.double()


def expected(q, k, v, scale, seen):
    """Spelled out in float64; rows without keys are 0 and minus infinity."""
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.double().repeat_interleave(repeats, dim=1) for x in (k, v))
    scores = torch.einsum("bhmd,bhnd->bhmn", q.double(), k) * scale
    powers = (scores + visible(seen, q.shape[2], k.shape[2])).exp()
    total = powers.sum(dim=-1)
    out = torch.einsum("bhmn,bhne->bhme", powers, v) / total.clamp(min=1e-300)[..., None]
    return Partial(out, total.log())


def masks(rows, keys):
    generator = torch.Generator().manual_seed(5)
    shape = (2, 4, rows, keys)
    some = torch.rand(shape, generator=generator) < 0.6
    some[0, 1, rows // 2] = False
    numbers = torch.randn(shape, generator=generator, dtype=torch.float64)
    return {
        "all": Seen.ALL,
        "top left": Seen.TOP_LEFT,
        "bool": some,
        "shared bool": some[:1, :1],
        "numbers": numbers[:1],
        "numbers with holes": numbers.masked_fill(~some, -torch.inf),
    }


@pytest.mark.parametrize("kind", masks(1, 1))
@pytest.mark.parametrize("function", [attend_lse, plain_lse])
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 20),
    keys=st.integers(1, 20),
    groups=st.sampled_from([1, 2, 4]),
    values=st.integers(1, 12),
    scale=st.floats(0.05, 2),
)
def test_it_is_attention_and_its_log_sum_exp(function, kind, rows, keys, groups, values, scale):
    q, k, v = qkv(groups=groups, rows=rows, keys=keys, values=values)
    seen = masks(rows, keys)[kind]
    actual, exact = function(q, k, v, scale=scale, seen=seen), expected(q, k, v, scale, seen)
    assert_close(actual.out, exact.out, **SAME)
    assert_close(actual.lse, exact.lse, **SAME)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", masks(1, 1))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_rounds_weights_and_output_once(device, kind, dtype):
    q, k, v = (x.to(device) for x in qkv(rows=16, keys=16, width=16, values=16, dtype=dtype))
    seen = masks(16, 16)[kind]
    exact = expected(q.cpu(), k.cpu(), v.cpu(), 0.25, seen)
    actual = attend_lse(
        q, k, v, scale=0.25, seen=seen if isinstance(seen, Seen) else seen.to(device)
    )
    assert actual.out.dtype == dtype
    assert actual.lse.dtype == torch.float32
    rounding = torch.finfo(dtype).eps / 2
    # Kernels take powers of half precision roughly, but well below its rounding.
    allowed = 2e-6 if dtype == torch.float32 else rounding / 8
    assert_close(actual.lse.cpu().double(), exact.lse, rtol=0, atol=allowed)
    error = (actual.out.cpu().double() - exact.out).abs().max()
    assert error <= 4 * rounding * v.double().abs().max()


# Traps of the kernel, and that the wrapper steps over each.


@pytest.mark.parametrize("added", [False, True])
def test_a_row_without_keys_has_the_log_sum_exp_minus_infinity(added):
    q, k, v = qkv()
    seen = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    seen[..., 3, :] = False
    numbers = visible(seen, 5, 7)
    _, trap = RAW(q, k, v, attn_mask=numbers)
    assert (trap[:, :, 3] == 0).all()
    actual = attend_lse(q, k, v, scale=1.0, seen=numbers if added else seen)
    assert actual.lse[:, :, 3].isneginf().all()
    assert (actual.out[:, :, 3] == 0).all()
    assert actual.lse[:, :, [0, 1, 2, 4]].isfinite().all()


def test_whatever_a_kernel_makes_of_a_row_without_keys_is_dropped(monkeypatch):
    def careless(q, k, v, scale, seen, mask):
        out, sums = RAW(q, k, v, attn_mask=mask, scale=scale)
        out[:, :, 3], sums[:, :, 3] = torch.nan, torch.nan
        return out, sums

    monkeypatch.setitem(lse._KERNELS, "cpu", careless)
    q, k, v = qkv()
    seen = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    seen[..., 3, :] = False
    actual, exact = attend_lse(q, k, v, scale=1.0, seen=seen), expected(q, k, v, 1.0, seen)
    assert_close(actual.out, exact.out, **SAME)
    assert_close(actual.lse, exact.lse, **SAME)


def test_no_keys_at_all_are_nothing():
    """The kernel divides by their number and ends the process."""
    q, k, v = qkv(keys=0)
    actual = attend_lse(q, k, v, scale=1.0)
    assert actual.lse.isneginf().all()
    assert (actual.out == 0).all()


def merged(function, q, k, v):
    parts = [function(q, k[:, :, keys], v[:, :, keys]) for keys in (slice(0, 3), slice(3, None))]
    shares = torch.stack([part.lse for part in parts]).softmax(dim=0)
    return (torch.stack([part.out for part in parts]) * shares[..., None]).sum(dim=0)


def gradients(function, q, k, v):
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    out = function(*inputs)
    out.square().sum().backward()
    return out.detach(), [x.grad for x in inputs]


def test_gradients_flow_through_the_log_sum_exp():
    """The kernel's log-sum-exp has none: what is merged from it looks right and learns wrong."""
    q, k, v = qkv()
    exact = gradients(lambda *x: expected(*x, 0.5, Seen.ALL).out, q, k, v)

    def raw(q, k, v):
        return Partial(*RAW(q, k, v, scale=0.5))

    trap = gradients(lambda *x: merged(raw, *x), q, k, v)
    assert_close(trap[0], exact[0], **SAME)
    assert (trap[1][0] - exact[1][0]).norm() > 0.1 * exact[1][0].norm()
    actual = gradients(lambda *x: merged(lambda *y: attend_lse(*y, scale=0.5), *x), q, k, v)
    assert_close(actual, exact, **SAME)


@pytest.mark.parametrize("values", [3, 12])
def test_values_may_be_of_another_width_than_keys(values):
    q, k, v = qkv(values=values)
    with pytest.raises(RuntimeError, match="same head size"):
        RAW(q, k, v)
    assert_close(attend_lse(q, k, v, scale=0.7).out, expected(q, k, v, 0.7, Seen.ALL).out, **SAME)


@pytest.mark.parametrize(("rows", "keys"), [(3, 6), (6, 3)])
def test_the_first_row_is_aligned_with_the_first_key(rows, keys):
    q, k, v = qkv(rows=rows, keys=keys)
    actual = attend_lse(q, k, v, scale=1.0, seen=Seen.TOP_LEFT)
    assert_close(actual.out[:, :, 0], v[:, :, 0].repeat_interleave(2, dim=1), **SAME)


def test_masks_may_be_bool():
    q, k, v = qkv(dtype=torch.float32)
    seen = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    with pytest.raises(RuntimeError, match="same data type"):
        RAW(q, k, v, attn_mask=seen)
    assert_close(attend_lse(q, k, v, scale=1.0, seen=seen).out, attend_lse(q, k, v, scale=1.0).out)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_channels_need_not_lie_side_by_side(which):
    inputs = qkv()
    apart = torch.stack([inputs[which], -inputs[which]], dim=-1).flatten(-2)[..., ::2]
    wrong = RAW(*inputs[:which], apart, *inputs[which + 1 :])[0]
    exact = expected(*inputs, 8**-0.5, Seen.ALL).out
    assert (wrong - exact).abs().max() > 0.1
    inputs[which] = apart
    assert_close(attend_lse(*inputs, scale=8**-0.5).out, exact, **SAME)


def test_a_kernel_that_runs_out_of_memory_is_not(monkeypatch):
    """Plain products hold every score: they would need more."""

    def exhaust(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(lse._KERNELS, "cpu", exhaust)
    with pytest.raises(torch.OutOfMemoryError):
        attend_lse(*qkv(), scale=1.0)


@pytest.mark.parametrize("error", [NotImplementedError, RuntimeError])
@pytest.mark.parametrize("values", [8, 5])
def test_a_kernel_that_refuses_is_replaced(error, values, monkeypatch):
    calls = []

    def refuse(*args):
        calls.append(args)
        raise error("not here")

    monkeypatch.setitem(lse._KERNELS, "cpu", refuse)
    q, k, v = qkv(values=values)
    actual = attend_lse(q, k, v, scale=0.3, seen=Seen.TOP_LEFT)
    assert len(calls) == 1
    assert_close(actual.out, expected(q, k, v, 0.3, Seen.TOP_LEFT).out, **SAME)


def test_a_device_without_a_kernel_gets_plain_products(monkeypatch):
    monkeypatch.setattr(lse, "_KERNELS", {})
    q, k, v = qkv()
    assert_close(attend_lse(q, k, v, scale=0.3).out, expected(q, k, v, 0.3, Seen.ALL).out, **SAME)


# Merging.


def test_parts_may_come_in_any_order_and_miss_rows():
    """Rows 1 and up see the second part, none sees the third."""
    q, k, v = qkv()
    scale = 0.6
    later = torch.ones(1, 1, 5, 7, dtype=torch.bool)
    later[..., 0, 4:] = False
    exact = expected(q, k, v, scale, later).out
    early = attend_lse(q, k[:, :, :4], v[:, :, :4], scale=scale)
    late = attend_lse(q[:, :, 1:], k[:, :, 4:], v[:, :, 4:], scale=scale)
    none = attend_lse(q, k[:, :, :0], v[:, :, :0], scale=scale)
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]):
        merger = Merger(q, v.shape[-1])
        for number in order:
            part = (early, late, none)[number]
            merger.add(Partial(part.out.clone(), part.lse.clone()), int(number == 1), 5)
        assert_close(merger.result(None).out, exact, **SAME)


def test_rows_that_got_nothing_are_zero():
    q, k, v = qkv()
    assert (Merger(q, 3).result(None).out == 0).all()
    merger = Merger(q, v.shape[-1])
    merger.add(attend_lse(q, k[:, :, :0], v[:, :, :0], scale=1.0), 0, 5)
    assert (merger.result(torch.zeros(4)).out == 0).all()


def test_a_sink_is_a_key_without_a_value():
    q, k, v = qkv()
    sinks = torch.tensor([-1.0, 0.0, 2.0, 0.5], dtype=torch.float64)
    merger = Merger(q, v.shape[-1])
    merger.add(attend_lse(q, k, v, scale=0.4), 0, 5)
    scores = torch.einsum("bhmd,bhnd->bhmn", q, k.repeat_interleave(2, dim=1)) * 0.4
    column = sinks[None, :, None, None].expand(2, 4, 5, 1)
    weights = torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]
    assert_close(merger.result(sinks).out, weights @ v.repeat_interleave(2, dim=1), **SAME)


def test_sums_of_half_precision_are_float32():
    q, k, v = qkv(dtype=torch.bfloat16)
    merger = Merger(q, v.shape[-1])
    for keys in (slice(0, 4), slice(4, 7)):
        merger.add(attend_lse(q, k[:, :, keys], v[:, :, keys], scale=1.0), 0, 5)
    assert merger.result(None).out.dtype == torch.float32


def test_grouped_products_are_those_of_repeated_heads():
    x, other = random(2, 6, 5, 4), random(2, 3, 4, 7, seed=1)
    assert_close(by_group(x, other), x @ other.repeat_interleave(2, dim=1), **SAME)
