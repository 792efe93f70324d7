"""Unstated keys are those of the library's own config class. Values written by hand.

Source: config classes of transformers 5.23.0.
"""

import pytest

import ropewalk as rw
from ropewalk.configs.attention import Chunked, Full, Sliding
from ropewalk.configs.defaults import with_defaults
from ropewalk.configs.shape import read_model
from ropewalk.configs.unknown import known
from ropewalk.integrations.config_classes import completed_by_transformers

GEMMA_3_4B = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
}


def read(config):
    return read_model(config, completed_by_transformers)


def test_a_sparse_text_config_takes_its_family_s_sizes_bases_and_layers():
    """gemma-3-4b as published: 8 query and 4 key heads of 256 channels, every sixth layer full."""
    shape = read(GEMMA_3_4B)
    sliding, full = known(shape.kinds)
    assert full.layers == (5, 11, 17, 23, 29)
    assert (sliding.attention, full.attention) == (Sliding(1024), Full())
    assert known(full.cache).numbers_per_token == 2 * 4 * 256
    assert (known(sliding.rope).rope_theta, known(full.rope).rope_theta) == (1e4, 1e6)
    assert known(full.rope).rope_type == "linear"
    assert shape.rope().max_position_embeddings == 131072
    assert shape.rope().written == {"rope_type": "linear", "factor": 8.0}
    memory = rw.plan(GEMMA_3_4B, 131072)["kv_cache"]
    assert memory["bytes"] == 2048 * 2 * (5 * 131072 + 29 * 1024)


def test_a_config_without_any_rope_key_is_its_family_s():
    """LLaMA 1's published config.json states sizes alone."""
    sizes = {"hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 32}
    rope = read({"model_type": "llama", **sizes}).rope()
    assert (rope.rope_theta, rope.trained_length, rope.head_dim) == (10_000.0, 2048, 128)


def test_sizes_that_follow_from_others_are_computed_from_those_stated():
    sizes = {"hidden_size": 2048, "num_attention_heads": 32, "rope_theta": 5e5}
    rope = read({"model_type": "llama", "max_position_embeddings": 4096, **sizes}).rope()
    assert (rope.head_dim, rope.rope_theta, rope.max_position_embeddings) == (64, 5e5, 4096)


def test_llama_4_attends_fully_in_every_fourth_layer():
    config = {"model_type": "llama4_text", "rope_theta": 5e5, "max_position_embeddings": 10485760}
    chunked, full = known(read({**config, "num_hidden_layers": 48}).kinds)
    assert (chunked.attention, full.attention) == (Chunked(8192), Full())
    assert len(full.layers) == 12


@pytest.mark.parametrize(
    ("stated", "completed", "key", "expected"),
    [
        ({"n_positions": 512}, {"max_position_embeddings": 2048}, "max_position_embeddings", None),
        ({"rotary_dim": 32}, {"partial_rotary_factor": 0.25}, "partial_rotary_factor", None),
        ({"head_dim": None}, {"head_dim": 64}, "head_dim", 64),
        ({}, {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters", {"rope_theta": 5.0}),
        ({"rope_theta": 7.0}, {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters", None),
        (
            {"rope_scaling": {"type": "linear"}},
            {"rope_parameters": {"rope_theta": 5.0}},
            "rope_theta",
            5.0,
        ),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": 7.0}}},
            {"rope_parameters": {"full_attention": {"partial_rotary_factor": 0.25}}},
            "partial_rotary_factor",
            None,
        ),
        (
            {"rope_scaling": {"original_max_position_embeddings": 64}},
            {"original_max_position_embeddings": 4096, "rope_parameters": {}},
            "original_max_position_embeddings",
            None,
        ),
    ],
)
def test_a_key_is_filled_where_no_spelling_of_it_is_stated(stated, completed, key, expected):
    assert with_defaults(stated, completed).get(key) == expected


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "no such family", "rope_theta": 1e4},
        {"model_type": None},
        {"model_type": "llama", "num_attention_heads": "many"},
    ],
)
def test_what_no_class_reads_is_left_as_it_is(config):
    assert completed_by_transformers(config) == {}


def test_chatglm_turns_half_of_each_head_by_a_scaled_base():
    """chatglm3-6b-32k: theta = 10,000 * 50, two groups of keys of 128 channels in 28 layers."""
    config = {
        "model_type": "chatglm",
        "hidden_size": 4096,
        "kv_channels": 128,
        "multi_query_attention": True,
        "multi_query_group_num": 2,
        "num_attention_heads": 32,
        "num_layers": 28,
        "rope_ratio": 50,
        "seq_length": 32768,
    }
    rope = read(config).rope()
    assert (rope.rope_theta, rope.trained_length, rope.pairing) == (5e5, 32768, "interleaved")
    assert rope.geometry().rotary_dim == 64
    assert rw.plan(config, 32768)["kv_cache"]["bytes"] == 28 * 2 * (128 + 128) * 32768 * 2


def test_mimo_s_windows_have_heads_and_a_base_of_their_own():
    """MiMo-V2-Flash: two full layers of 4 key heads, four windows of 128 tokens with 8."""
    config = {
        "model_type": "mimo_v2_flash",
        "hidden_size": 4096,
        "head_dim": 192,
        "v_head_dim": 128,
        "swa_head_dim": 192,
        "swa_v_head_dim": 128,
        "num_attention_heads": 64,
        "num_key_value_heads": 4,
        "swa_num_attention_heads": 64,
        "swa_num_key_value_heads": 8,
        "num_hidden_layers": 6,
        "hybrid_layer_pattern": [0, 1, 1, 1, 1, 0],
        "sliding_window": 128,
        "partial_rotary_factor": 0.334,
        "rope_theta": 5000000,
        "swa_rope_theta": 10000,
        "max_position_embeddings": 262144,
    }
    assert read(config).rope("sliding_attention").rope_theta == 1e4
    numbers = 2 * 262144 * 4 * (192 + 128) + 4 * 128 * 8 * (192 + 128)
    assert rw.plan(config, 262144)["kv_cache"]["bytes"] == 2 * numbers


def test_phi_3_small_states_its_base_in_words_of_its_own():
    config = {"model_type": "phi3small", "head_dim": 128, "max_position_embeddings": 8192}
    assert read({**config, "rope_embedding_base": 1e6}).rope().rope_theta == 1e6
