"""A model on another device than the CPU: every tensor is made where it is needed."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import ropewalk as rw
from elsewhere import Elsewhere, moved, other_device

CONFIG = LlamaConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=32,
    rope_parameters={"rope_type": "default", "rope_theta": 1e4},
)
METHODS = (
    "yarn+log_n",
    "dynamic_ntk:step=4",
    "dynamic_ntk:policy=at_birth",
    "rerope:window=16",
    "dual_chunk:chunk_size=24,local_window=8",
)


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(CONFIG).eval()


def measured(model, method):
    ids = torch.randint(97, (300,), generator=torch.Generator().manual_seed(0))
    return rw.perplexity(
        model,
        [ids],
        [44],
        methods=[method],
        modes=["stream:40", "chunked:13", "decode"],
        windows=2,
        tail_tokens=8,
        batch=2,
    )


def test_the_other_device_is_not_the_cpu():
    with other_device():
        there, here = torch.ones(3, device="meta"), torch.ones(3)
        assert isinstance(there, Elsewhere)
        assert (there + there).tolist() == [2.0, 2.0, 2.0]
        assert (there.cpu() + here).tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(RuntimeError, match="two devices"):
            there + here


@pytest.mark.parametrize("method", METHODS)
def test_measuring_on_another_device_gives_the_same(method):
    expected = measured(model(), method)
    with other_device():
        found = measured(moved(model()), method)
    for ours, reference in zip(found, expected, strict=True):
        assert ours["status"] == "ok", ours["reason"]
        assert ours["nll"] == pytest.approx(reference["nll"], abs=1e-5)
