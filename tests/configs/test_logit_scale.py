"""Which layers were trained with a scale of their logits by position, and with which."""

import math

import pytest
import torch
from transformers import Llama4TextConfig
from transformers.models.llama4.modeling_llama4 import Llama4TextAttention

import ropewalk as rw

SCOUT = {
    **{"model_type": "llama4_text", "hidden_size": 64, "num_attention_heads": 4, "head_dim": 16},
    **{"num_key_value_heads": 2, "num_hidden_layers": 4, "max_position_embeddings": 1024},
    **{"no_rope_layers": [1, 1, 1, 0], "attention_chunk_size": 128},
}


def scales(config):
    return {row["kind"]: row["logit_scale"] for row in rw.inspect(config)["layers"]}


def test_llama_4_scales_the_layers_without_rotation_alone():
    found = scales(SCOUT)
    assert found["chunked_attention"] is None
    assert found["full_attention"] == {"law": "staircase", "floor": 8192.0, "slope": 0.1}
    assert set(scales({**SCOUT, "attn_temperature_tuning": False}).values()) == {None}
    own = {**SCOUT, "floor_scale": 100, "attn_scale": 0.5}
    assert scales(own)["full_attention"] == {"law": "staircase", "floor": 100.0, "slope": 0.5}


def test_the_staircase_is_what_the_library_computes():
    """1 + slope ln(1 + floor((m + 1) / F)), with what its own attention module reads."""
    layer = Llama4TextAttention(Llama4TextConfig(**SCOUT), layer_idx=3)
    assert not layer.use_rope
    said = scales(SCOUT)["full_attention"]
    for row in (0, 8190, 8191, 100_000):
        theirs = torch.log1p(torch.floor(torch.tensor((row + 1.0) / layer.floor_scale)))
        wanted = (theirs * layer.attn_scale + 1.0).item()
        ours = 1 + said["slope"] * math.log(1 + (row + 1) // said["floor"])
        assert ours == pytest.approx(wanted, rel=1e-6)


def test_others_say_it_elsewhere():
    rope = {"rope_type": "default", "rope_theta": 1e4, "llama_4_scaling_beta": 0.1}
    sizes = {key: SCOUT[key] for key in SCOUT if key not in ("no_rope_layers", "model_type")}
    sizes.pop("attention_chunk_size")
    ministral = {**sizes, "model_type": "ministral3", "rope_parameters": rope}
    right = {"law": "staircase", "floor": 1024.0, "slope": 0.1}
    assert [*scales(ministral).values()] == [right]
    qwen = {**sizes, "model_type": "qwen", "seq_length": 2048, "use_logn_attn": True}
    assert [*scales(qwen).values()] == [{"law": "log-n", "floor": 2048.0, "slope": None}]
    assert set(scales({**sizes, "model_type": "llama"}).values()) == {None}
