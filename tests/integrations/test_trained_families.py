"""Training an extended model: gradients are those of what it computes, packed rows stay apart."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import ropewalk as rw
from in_use import SEAMS, SPECS, small
from recipes.families.sharpened import logits, tiny, token_ids
from ropewalk.integrations.cache_names import cache_argument, cache_in

FAMILIES = ("llama", "persimmon", "gpt_neox", "phi", "deepseek_v3", "gemma2", "gpt_oss", "cohere")
"""Partial rotation, latent attention, a softcap, sinks, pairs side by side."""
LAYERS_APART = ("gemma2", "gpt_oss")
"""Families whose layers need different encodings."""
IDS = token_ids(1, 40)


def loss(model, ids=IDS, **given):
    return model(ids, use_cache=False, **given).logits.square().mean()


def directions(model):
    """A random one for each parameter, as long as the parameter itself."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64) * p.detach().std()
        for name, p in model.named_parameters()
        if any(word in name for word in ("q_", "k_", "v_", "query", "qkv", "kv_", "sinks"))
    }


@pytest.mark.parametrize("family", FAMILIES)
@SEAMS
def test_gradients_are_finite_differences(family, spec):
    """Along one random direction of all that makes queries, keys and values."""
    model = small(family)
    if "at_birth" in spec and family in LAYERS_APART:
        with pytest.raises(rw.RopewalkError, match="at_birth"):
            rw.extend(model, spec)
        return
    moved, parameters = directions(model), dict(model.named_parameters())
    assert moved
    with rw.extend(model, spec):
        loss(model).backward()
        parts = [float((parameters[name].grad * d).sum()) for name, d in moved.items()]
        values = []
        for step in (3e-4, -6e-4):  # to one side, and from there to the other
            with torch.no_grad():
                for name, d in moved.items():
                    parameters[name] += step * d
                values.append(loss(model).item())
    # Norms are float32 in a float64 model: smaller steps would drown in their rounding.
    room = 5e-3 * sum(map(abs, parts))
    assert sum(parts) == pytest.approx((values[0] - values[1]) / 6e-4, abs=room)


@SEAMS
def test_packed_rows_train_as_each_sequence_alone(spec):
    parts = [token_ids(1, n, seed=n) for n in (17, 23)]
    packed = torch.cat(parts, dim=1)
    places = torch.cat([torch.arange(each.shape[1]) for each in parts])[None]
    model = small().train()
    with rw.extend(model, spec):
        if "at_birth" in spec:
            with pytest.raises(rw.RopewalkError, match="one sequence a row"):
                loss(model, packed, position_ids=places)
            return
        loss(model, packed, position_ids=places).backward()
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        for each in parts:
            (loss(model, each) * each.shape[1] / packed.shape[1]).backward()
        alone = [p.grad for p in model.parameters() if p.grad is not None]
    assert_close(found, alone, rtol=1e-9, atol=1e-13)


class Renamed(nn.Module):
    """A decoder of a release that calls the cache otherwise."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.config = inner, inner.config

    def get_input_embeddings(self):
        return self.inner.get_input_embeddings()

    def forward(self, input_ids, cache=None, *, use_cache=True):
        out = self.inner(input_ids, past_key_values=cache, use_cache=use_cache)
        return SimpleNamespace(last_hidden_state=out.last_hidden_state, cache=out.past_key_values)


def test_a_cache_by_another_name_is_handed_on():
    model = small()
    expected = model.model(IDS, use_cache=False).last_hidden_state
    renamed, cache, found = Renamed(model.model), None, []
    for part in IDS.split(13, dim=1):
        out = renamed(part, **cache_argument(renamed, cache))
        cache = cache_in(out)
        found.append(out.last_hidden_state)
    assert cache.get_seq_length() == IDS.shape[1]
    assert_close(torch.cat(found, dim=1), expected, rtol=0, atol=1e-9)
    assert list(cache_argument(model.model, None)) == ["past_key_values"]


class Steps(nn.Module):
    """Activations of eight bits, rounded by the largest of each row."""

    def forward(self, x):
        size = x.detach().abs().amax(dim=-1, keepdim=True) / 127
        return (x / size).round() * size


@pytest.mark.parametrize("spec", SPECS[1:3])
def test_a_model_whose_own_rounding_is_rough_is_proven_as_far_as_it_goes(spec):
    """Quantised activations: the last digits of attention decide on which side a step falls."""
    model = tiny(num_hidden_layers=2, dtype=torch.float32)
    for layer in model.model.layers:
        layer.self_attn.o_proj = nn.Sequential(Steps(), layer.self_attn.o_proj)
    with rw.extend(model, spec):
        assert logits(model, IDS).isfinite().all()


@pytest.mark.parametrize("spec", ["dynamic_ntk", "rerope:window=12"])
def test_gradients_of_a_norm_after_the_rotation(spec):
    """Hunyuan: the weight is divided out and multiplied back. Against finite differences."""
    model, ids = small("hunyuan_v1_dense"), token_ids(1, 40)
    weight = model.model.layers[1].self_attn.query_layernorm.weight

    def loss():
        return model(ids, use_cache=False).logits.square().mean()

    with rw.extend(model, spec):
        loss().backward()
        for channel in (0, 7):
            values = []
            for step in (1e-3, -1e-3):  # the family's norm is float32 in a float64 model
                with torch.no_grad():
                    weight[channel] += step
                    values.append(loss().item())
                    weight[channel] -= step
            numeric = (values[0] - values[1]) / 2e-3
            assert weight.grad[channel].item() == pytest.approx(numeric, rel=1e-2, abs=1e-5)
