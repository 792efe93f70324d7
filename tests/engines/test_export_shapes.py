"""Exports of configs of other shapes, and the audit of what is exported."""

from dataclasses import replace

import pytest
from export_configs import L0, LONG, LONG_LIST, QWEN, SHORT_LIST, answered

import ropewalk as rw
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.dialects import DIALECTS
from ropewalk.engines.table import ENGINES

ALL = frozenset(ENGINES)


HF = frozenset({"transformers"})


LITE = {
    "model_type": "deepseek_v2",
    "architectures": ["DeepseekV2ForCausalLM"],
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "kv_lora_rank": 512,
    "num_hidden_layers": 27,
    "max_position_embeddings": 163840,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
    },
}


# Configs of other shapes.


@pytest.mark.parametrize("engine", ENGINES)
def test_latent_attention_keeps_the_softmax_scale_it_was_trained_with(engine):
    """m(40, 0.707)^2 = 1.58963, whatever factor replaces 40."""
    document = rw.export(LITE, "yarn:factor=80,attention_factor=1.0", engine)
    answer, _ = answered(LITE, document, document["length"])
    assert answer.softmax_scale_multiplier == pytest.approx(1.5896261651208736, rel=1e-6)
    assert answer.attention_factor == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("engine", sorted(ALL - HF))
def test_latent_attention_cannot_have_another_type_in_engines_that_force_yarn(engine):
    with pytest.raises(RopewalkError, match=f"on {engine.replace('.', '[.]')}: .*nearest"):
        rw.export(LITE, "linear:factor=40", engine)


def test_other_layers_keep_their_rope_dict():
    sliding = {"rope_type": "default", "rope_theta": 1e4}
    nested = {"full_attention": {"rope_type": "default", "rope_theta": 1e6}}
    config = {**QWEN, "rope_parameters": {**nested, "sliding_attention": sliding}}
    document = rw.export(config, "yarn:factor=4", "vllm")
    layers = document["config"]["rope_parameters"]
    assert layers["sliding_attention"] == sliding
    assert layers["full_attention"]["factor"] == 4.0


def test_a_local_base_becomes_a_dict_of_its_own():
    """Gemma 3 as it was first written: a flat dict that is meant for full attention."""
    config = {**QWEN, "model_type": "gemma3_text", "rope_local_base_freq": 1e4}
    layers = rw.export(config, "linear:factor=4", "vllm")["config"]["rope_parameters"]
    assert layers["sliding_attention"] == {"rope_type": "default", "rope_theta": 1e4}
    assert layers["full_attention"]["rope_type"] == "linear"


def test_a_multimodal_config_is_written_in_its_text_part():
    config = {"model_type": "vlm", "text_config": QWEN}
    document = rw.export(config, "yarn:factor=4", "sglang")
    assert set(document["config"]) == {"text_config"}
    assert '--json-model-override-args \'{"text_config"' in document["command"]


def test_keys_that_a_merge_would_keep_are_set_to_null():
    old = {"type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5, "attn_factor": 2.0}
    config = {**QWEN, "rope_scaling": {**old, "original_max_position_embeddings": L0}}
    rope = rw.export(config, "yarn:factor=4,beta_fast=16", "sglang")["config"]["rope_parameters"]
    assert rope["mscale"] is rope["mscale_all_dim"] is rope["attn_factor"] is None
    assert rope["type"] == "yarn"


def test_what_is_baked_into_a_file_is_not_stacked_upon():
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
    scaling |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    scaled = {**QWEN, "rope_scaling": scaling, "max_position_embeddings": LONG}
    config = {**scaled, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert rw.export(config, "native", "llama.cpp")["flags"] == ["-c", str(LONG)]
    with pytest.raises(RopewalkError, match="bakes"):
        rw.export(config, "yarn:factor=16", "llama.cpp")
    with pytest.raises(RopewalkError, match="no flag says llama3"):
        rw.export(scaled, "native", "llama.cpp")  # Qwen's class writes no such divisors
    assert "yarn" in rw.export(scaled, "yarn:factor=16", "llama.cpp")["flags"]


@pytest.mark.parametrize("model_type", ["stablelm", "phi", "gemma2", "glm"])
def test_flags_say_what_the_converter_does_not_write(model_type):
    config = {**QWEN, "architectures": [], "model_type": model_type, "rope_theta": 5e5}
    config |= {"head_dim": 128, "partial_rotary_factor": 1.0}
    (finding,) = (f for f in rw.audit(config)["findings"] if f["id"] == "base-dropped")
    assert finding["engines"] == ["llama.cpp"]
    flags = rw.export(config, "yarn:factor=4", "llama.cpp")["flags"]
    assert flags[flags.index("--rope-freq-base") + 1] == "500000"


def test_windows_beside_a_flat_dict_are_noted():
    windows = {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 12}
    (note,) = rw.export({**QWEN, **windows}, "yarn:factor=4", "vllm")["notes"]
    assert note.startswith("16 layers see a window of 4,096 tokens")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_scaling_that_no_layer_feels_is_refused(engine):
    config = {**QWEN, "model_type": "mistral", "sliding_window": 4096}
    words = "RoPE needs no scaling at any length: the 28 layers that rotate see at most 4,096"
    with pytest.raises(RopewalkError, match=words):
        rw.export(config, "yarn:factor=4", engine)


def test_lists_that_follow_the_sequence_are_not_what_vllm_serves():
    """At max_model_len above L every request takes the long list, short ones too."""
    config = {**QWEN, "max_position_embeddings": LONG}
    lists = {"short_factor": SHORT_LIST, "long_factor": LONG_LIST}
    config["rope_scaling"] = {
        **{"rope_type": "longrope", "original_max_position_embeddings": L0},
        **lists,
    }
    with pytest.raises(RopewalkError, match="decided once, by --max-model-len"):
        rw.export(config, "native", "vllm")
    assert rw.export(config, "native", "vllm", L0)["flags"] == ["--max-model-len", str(L0)]


# The audit of its own output.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wrong", ["rope_theta", "factor"])
def test_an_export_that_computes_something_else_is_not_handed_out(engine, wrong, monkeypatch):
    """A writer with a bug: the audit stands between it and the reader."""
    kind = type(DIALECTS[engine])
    write = kind.write

    def wrong_write(dialect, request):
        block = request.block
        changed = {"rope_theta": block.rope_theta * 1.001} if wrong == "rope_theta" else {}
        factors = {"factor": 4.01} | dict.fromkeys(("short_factor", "long_factor"), [4.01] * 64)
        parameters = dict(block.parameters) | (factors if wrong == "factor" else {})
        block = replace(block, parameters=parameters, **changed)
        return write(dialect, replace(request, block=block))

    monkeypatch.setattr(kind, "write", wrong_write)
    with pytest.raises(RopewalkError, match=r"differ|attention factor"):
        rw.export(QWEN, "yarn:factor=4", engine)
