"""Which layers were trained with a scale of their logits by position, and with which."""

import json
import math

import pytest
import torch
from transformers import Llama4TextConfig
from transformers.models.beam.modeling_beam import compute_attention_scaling
from transformers.models.llama4.modeling_llama4 import Llama4TextAttention
from transformers.models.ministral3.modeling_ministral3 import get_llama_4_attn_scale

import ropewalk as rw
from recipes.population.library import default_config
from ropewalk.cli.main import main
from ropewalk.core.geometry import RopeGeometry

SCOUT = {
    **{"model_type": "llama4_text", "hidden_size": 64, "num_attention_heads": 4, "head_dim": 16},
    **{"num_key_value_heads": 2, "num_hidden_layers": 4, "max_position_embeddings": 1024},
    **{"no_rope_layers": [1, 1, 1, 0], "attention_chunk_size": 128},
}


OTHERS = ("no_rope_layers", "model_type", "attention_chunk_size")
SIZES = {key: value for key, value in SCOUT.items() if key not in OTHERS}
GEOMETRY = RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=1024)


def staircase(floor, slope):
    return {"law": "staircase", "floor": floor, "slope": slope, "counted": 1}


def scales(config):
    return {row["kind"]: row["logit_scale"] for row in rw.inspect(config)["layers"]}


def test_llama_4_scales_the_layers_without_rotation_alone():
    found = scales(SCOUT)
    assert found["chunked_attention"] is None
    assert found["full_attention"] == staircase(8192.0, 0.1)
    assert set(scales({**SCOUT, "attn_temperature_tuning": False}).values()) == {None}
    own = {**SCOUT, "floor_scale": 100, "attn_scale": 0.5}
    assert scales(own)["full_attention"] == staircase(100.0, 0.5)


def test_the_staircase_is_what_the_library_computes():
    """1 + slope ln(1 + floor((m + 1) / F)), with what its own attention module reads; a spec says
    the same."""
    layer = Llama4TextAttention(Llama4TextConfig(**SCOUT), layer_idx=3)
    assert not layer.use_rope
    said = scales(SCOUT)["full_attention"]
    rows = torch.tensor([0, 8190, 8191, 100_000])
    steps = torch.floor((rows.double() + 1) / layer.floor_scale)
    theirs = torch.log1p(steps) * layer.attn_scale + 1.0
    ours = [
        1 + said["slope"] * math.log(1 + (row + said["counted"]) // said["floor"]) for row in rows
    ]
    assert ours == pytest.approx(theirs.tolist(), rel=1e-6)
    spec = rw.encoding("log_n:form=staircase,base_length=8192,slope=0.1", GEOMETRY)
    torch.testing.assert_close(spec.query_scale(rows), theirs)


def test_ministrals_staircase_is_of_the_position():
    rows = torch.tensor([0, 1023, 1024, 5000])
    theirs = get_llama_4_attn_scale(rows[None], 0.1, 1024).flatten()
    rope = {"rope_type": "default", "rope_theta": 1e4, "llama_4_scaling_beta": 0.1}
    config = {**SIZES, "model_type": "ministral3", "rope_parameters": rope}
    (said,) = scales(config).values()
    assert said == {**staircase(1024.0, 0.1), "counted": 0}
    ours = [1 + 0.1 * math.log(1 + (row + said["counted"]) // said["floor"]) for row in rows]
    assert ours == pytest.approx(theirs.tolist(), rel=1e-6)


def test_layers_of_inkling_that_see_all_tokens_grow_above_a_floor():
    """Its own formula, as modeling_inkling.py has it; a spec says the same."""
    config = default_config("inkling_text")
    stated = {**config, "log_scaling_n_floor": 64, "log_scaling_alpha": 0.3}
    right = {"law": "above", "floor": 64.0, "slope": 0.3, "counted": 1}
    assert scales(stated) == {"hybrid_sliding": None, "hybrid": right}
    assert set(scales(config).values()) == {None}
    rows = torch.tensor([0, 63, 64, 1000])
    theirs = 1.0 + 0.3 * torch.log(((rows + 1).double() / 64).clamp(min=1.0))
    spec = rw.encoding("log_n:form=above,base_length=64,slope=0.3", GEOMETRY)
    torch.testing.assert_close(spec.query_scale(rows), theirs)


def test_beams_layers_without_rotation_grow_as_a_power_that_no_key_states():
    found = scales(default_config("beam"))
    assert found["sliding_attention"] is None
    said = found["full_attention"]
    rows = torch.tensor([0, 2047, 100_000])
    theirs = compute_attention_scaling(rows[None]).flatten()
    ours = [(1 + (row + said["counted"]) / said["floor"]) ** said["slope"] for row in rows]
    assert (said["law"], said["counted"]) == ("power", 1)
    assert [*map(float, ours)] == pytest.approx(theirs.tolist(), rel=1e-6)


def test_a_person_reads_which_layers_scale_their_logits(tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SCOUT))
    assert main(["inspect", str(path)]) == 0
    said = "Logits of full_attention layers, at row m: 1 + 0.1 ln(1 + floor((m + 1) / 8,192))"
    assert said in capsys.readouterr().out


def test_qwen_1_says_it_by_a_switch():
    qwen = {**SIZES, "model_type": "qwen", "seq_length": 2048, "use_logn_attn": True}
    right = {"law": "log-n", "floor": 2048.0, "slope": None, "counted": 1}
    assert [*scales(qwen).values()] == [right]
    assert set(scales({**SIZES, "model_type": "llama"}).values()) == {None}
