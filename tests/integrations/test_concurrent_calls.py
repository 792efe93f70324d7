"""Callers beside each other: what a call knows travels with it, so concurrent is alone.

Schedules are forced, not left to luck: two passes meet before each layer.
"""

import threading

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from in_use import SEAMS, full, in_parts, small
from recipes.families.sharpened import L0, left_padded, token_ids
from ropewalk.attention import fused


def at_once(*calls):
    """What each of some functions returns, in a thread of its own."""
    found = [None] * len(calls)

    def go(number):
        found[number] = calls[number]()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return found


class LockStep:
    """Two passes through one model, layer by layer in turn."""

    def __init__(self, model):
        self._barrier = threading.Barrier(2)
        for layer in model.model.layers:
            layer.register_forward_pre_hook(self._meet)

    def _meet(self, layer, args):
        self._barrier.wait(timeout=60)

    def run(self, *calls):
        return at_once(*calls)


@SEAMS
@pytest.mark.parametrize("family", ["llama", "persimmon"])
def test_two_paddings_in_lock_step_are_each_alone(family, spec):
    """Positions that a module kept passed from one call to another: 5 of 20 texts were wrong."""
    model = small(family)
    batches = [left_padded(token_ids(1, n, seed=n), 44, token_ids(1, 44)) for n in (31, 40)]
    with rw.extend(model, spec):
        alone = [full(model, ids, attention_mask=mask) for ids, mask in batches]
        step = LockStep(model)
        found = step.run(
            *(
                lambda ids=ids, mask=mask: full(model, ids, attention_mask=mask)
                for ids, mask in batches
            )
        )
    assert_close(found, alone, rtol=0, atol=0)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@SEAMS
def test_two_decoders_in_lock_step_are_each_alone(spec):
    """Keys that steps rotated stay with their own cache."""
    texts = [token_ids(1, 42, seed=seed) for seed in (0, 1)]

    def decoded(model, ids):
        parts = [ids[:, :36], *ids[:, 36:].split(1, dim=1)]
        return in_parts(model, *((part, None) for part in parts))[0]

    model = small()
    with rw.extend(model, spec):
        alone = [decoded(model, ids) for ids in texts]
        found = LockStep(model).run(*(lambda ids=ids: decoded(model, ids) for ids in texts))
    assert_close(found, alone, rtol=0, atol=0)


@SEAMS
@pytest.mark.parametrize("family", ["llama", "persimmon"])
def test_two_callers_positions_in_lock_step_are_each_alone(family, spec):
    """Persimmon keeps position_ids from its attention: they come from where the pass entered."""
    model, ids = small(family), token_ids(1, 30)
    given = [torch.arange(30)[None] + offset for offset in (0, 25)]
    given[1][:, 15:] += 9
    with rw.extend(model, spec):
        alone = [full(model, ids, position_ids=each) for each in given]
        step = LockStep(model)
        found = step.run(*(lambda each=each: full(model, ids, position_ids=each) for each in given))
    assert_close(found, alone, rtol=0, atol=0)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@pytest.mark.parametrize("spec", ["dynamic_ntk:step=1", "rerope:window=12"])
def test_attend_in_threads_is_attend_alone(spec, monkeypatch):
    """Two calls of one shape meet before each rotation."""
    geometry = rw.RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=L0)
    encoding = rw.encoding(spec, geometry)
    generator = torch.Generator().manual_seed(0)
    calls = [[torch.randn(1, 2, 64, 16, generator=generator) for _ in "qkv"] for _ in range(2)]
    alone = [rw.attend(*call, encoding) for call in calls]
    barrier, rotated = threading.Barrier(2), fused.rotated

    def meeting(*given):
        barrier.wait(timeout=60)
        return rotated(*given)

    monkeypatch.setattr(fused, "rotated", meeting)
    found = at_once(*(lambda call=call: rw.attend(*call, encoding) for call in calls))
    assert_close(found, alone, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@SEAMS
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("family", ["llama", "persimmon"])
def test_two_forwards_before_one_backward(family, reentrant, spec):
    """As in DPO, under gradient checkpointing: layers run again while the last call is another."""
    batches = [left_padded(token_ids(1, n, seed=n), 40, token_ids(1, 40)) for n in (31, 38)]

    def gradients(model, together):
        losses = []
        for ids, mask in batches:
            out = model(ids, attention_mask=mask, use_cache=False).logits
            losses.append((out * mask[..., None]).square().mean())
            if not together:
                losses.pop().backward()
        if together:
            sum(losses).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    plain, checkpointed = small(family).train(), small(family).train()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": reentrant})
    checkpointed.enable_input_require_grads()
    with rw.extend(plain, spec), rw.extend(checkpointed, spec):
        expected = gradients(plain, together=False)
        assert_close(gradients(checkpointed, together=True), expected, rtol=1e-9, atol=1e-12)


def test_inference_mode_leaves_nothing_behind():
    """A scratch tensor of inference mode, taken up outside, cannot be written to."""
    geometry = rw.RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=L0)
    encoding = rw.encoding("dynamic_ntk:step=1", geometry)
    q, k, v = (torch.randn(1, 2, 64, 16) for _ in "qkv")
    with torch.inference_mode():
        inside = rw.attend(q, k, v, encoding)
    assert torch.equal(rw.attend(q, k, v, encoding), inside)
