"""What an engine computes is an encoding that attention runs."""

import json
import math

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from places import GOLDENS
from readings import answer_of
from ropewalk.engines.table import ENGINES

CONFIGS = json.loads((GOLDENS / "engines.json").read_text("utf-8"))["configs"]
PHI3 = CONFIGS["longrope-phi3"]
L = 4096  # Phi-3's original length


def attention(inv_freq, magnitude, q, k, v):
    """Rotations of halves by one table of cos and sin, as an engine's kernel applies them."""
    theta = torch.tensor(inv_freq, dtype=torch.float64)
    angles = torch.arange(q.shape[2], dtype=torch.float64)[:, None] * theta
    wave = torch.polar(torch.full_like(angles, magnitude), angles)
    pairs = len(inv_freq)

    def rotated(x):
        turning, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
        turned = torch.complex(turning[..., :pairs], turning[..., pairs:]) * wave
        return torch.cat([turned.real, turned.imag, rest], dim=-1)

    scores = rotated(q) @ rotated(k).transpose(-1, -2) / math.sqrt(q.shape[-1])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(-1) @ v


def vectors(head_dim, length):
    generator = torch.Generator().manual_seed(7)
    shape = (3, 1, 2, length, head_dim)
    return torch.randn(shape, generator=generator, dtype=torch.float64).unbind()


RUNNING = [
    pytest.param(engine, name, id=f"{engine}-{name}")
    for engine in ENGINES
    for name, config in CONFIGS.items()
    if answer_of(engine, config, 64).encoding is not None
]


@pytest.mark.parametrize(("engine", "name"), RUNNING)
def test_attention_under_an_answer_is_attention_under_its_numbers(engine, name):
    answer = answer_of(engine, CONFIGS[name], 64)
    q, k, v = vectors(answer.encoding.geometry.head_dim, 64)
    # How checkpoints keep their pairs is not what is asked here.
    found = rw.attend(q, k, v, answer.encoding.paired("half"))
    wanted = attention(answer.inv_freq, answer.attention_factor, q, k, v)
    assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("engine", "follows"),
    [("transformers", True), ("vllm", False), ("sglang", True), ("llama.cpp", False)],
)
def test_each_engine_has_its_own_rule_for_short_sequences_on_a_long_server(engine, follows):
    """Served at 131,072 tokens, a sequence of 64 sees the long list in vLLM and llama.cpp."""
    answer = answer_of(engine, PHI3, 131_072)
    lists = answer.inv_freq_short if follows else answer.inv_freq_long
    q, k, v = vectors(answer.encoding.geometry.head_dim, 64)
    found = rw.attend(q, k, v, answer.encoding)
    wanted = attention(lists, answer.attention_factor, q, k, v)
    # llama.cpp's kernel rounds each pair's step to float32, and the lists are stated without it.
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    other = answer.inv_freq_long if follows else answer.inv_freq_short
    assert (attention(other, answer.attention_factor, q, k, v) - wanted).abs().max() > 1e-2


def test_dynamic_ntk_of_transformers_follows_the_sequence():
    """One call: every row sees the base of the whole sequence; up to M the trained one."""
    config = {**CONFIGS["dynamic-internlm3"], "max_position_embeddings": 32, "head_dim": 128}
    encoding = answer_of("transformers", config, 64).encoding
    for length in (32, 64):
        q, k, v = vectors(128, length)
        at = answer_of("transformers", config, length)
        wanted = attention(at.inv_freq, at.attention_factor, q, k, v)
        assert_close(rw.attend(q, k, v, encoding), wanted, rtol=1e-9, atol=1e-9)
