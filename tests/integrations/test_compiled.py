"""Compilers and what lies between layers: graphs as many as the stock model has, masks copied."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from in_use import IDS, SPECS, full, in_parts, small
from recipes.families.sharpened import left_padded, tiny, token_ids


def test_a_static_method_is_one_graph():
    """No branch on a value: fullgraph and torch.export take no other."""
    model = small(dtype=torch.float32)
    ids, mask = left_padded(token_ids(1, 31), 44, token_ids(1, 44))
    with rw.extend(model, "yarn:factor=2"):
        expected = full(model), full(model, ids, attention_mask=mask)
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert_close(full(compiled), expected[0], rtol=0, atol=1e-5)
        assert_close(full(compiled, ids, attention_mask=mask), expected[1], rtol=0, atol=1e-5)
        exported = torch.export.export(model, (IDS,), {"use_cache": False})
        assert_close(exported.module()(IDS, use_cache=False).logits, expected[0], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [None, "yarn:factor=2", *SPECS[1:]])
def test_new_lengths_are_not_compiled_anew(spec):
    """Two lengths teach a compiler that a size varies; stock models are compiled no more then."""
    model, compiled = tiny(num_hidden_layers=1, dtype=torch.float32), []
    extension = None if spec is None else rw.extend(model, spec)
    expected = [full(model, token_ids(1, length)) for length in (20, 24, 30, 36)]
    torch._dynamo.reset()

    def count(graph, inputs):
        compiled.append(graph)
        return graph.forward

    fast = torch.compile(model, backend=count)
    found = [full(fast, token_ids(1, length)) for length in (20, 24)]
    before = len(compiled)
    found += [full(fast, token_ids(1, length)) for length in (30, 36)]
    assert len(compiled) == before > 0
    assert_close(found, expected, rtol=0, atol=1e-5)
    if extension is not None:
        extension.remove()


@pytest.mark.slow
@pytest.mark.parametrize("spec", [None, *SPECS])
def test_steps_over_a_cache_are_compiled_as_often_as_in_the_stock_model(spec):
    """Anew for a pass over keys, for a step, and for a step that grows; never after that."""
    model, rounds, compiled = tiny(num_hidden_layers=1, dtype=torch.float32), [], []
    extension = None if spec is None else rw.extend(model, spec)
    ids = token_ids(1, 27)
    steps = [ids[:, :20], *ids[:, 20:].split(1, dim=1)]
    expected = in_parts(model, *((each, None) for each in steps))[0]
    torch._dynamo.reset()

    def count(graph, inputs):
        compiled.append(graph)
        return graph.forward

    fast, found, cache = torch.compile(model, backend=count), [], None
    for each in steps:
        part, cache = in_parts(fast, (each, None), cache=cache)
        found.append(part)
        rounds.append(len(compiled))
    new = [after > before for before, after in pairwise([0, *rounds])]
    assert new == [True] * 3 + [False] * (len(steps) - 3)
    assert_close(torch.cat(found, dim=1), expected, rtol=0, atol=1e-5)
    if extension is not None:
        extension.remove()


def test_a_compiled_model_may_be_extended():
    """The model inside is; a RecursionError said nothing."""
    model = small(dtype=torch.float32)
    with rw.extend(model, "yarn:factor=2"):
        expected = full(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    full(compiled)
    with rw.extend(compiled, "yarn:factor=2"):
        assert_close(full(compiled), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "change", [torch.clone, torch.Tensor.detach, lambda x: x.to("cpu", copy=True)]
)
def test_a_mask_that_was_copied_carries_its_call(change, monkeypatch):
    """As accelerate and reentrant checkpointing do to what layers are handed."""
    model = small()
    with rw.extend(model, "dynamic_ntk"):
        expected = full(model)

        def changed(module, args, kwargs):
            return args, {**kwargs, "attention_mask": change(kwargs["attention_mask"])}

        for layer in model.model.layers:
            layer.register_forward_pre_hook(changed, with_kwargs=True)
        assert torch.equal(full(model), expected)
