"""The shape of a model against values written by hand from published configs."""

import pytest

from ropewalk.configs import shape as shapes
from ropewalk.configs.attention import Chunked, Full, NoAttention, Recurrent, Sliding
from ropewalk.configs.cache import KeyCache, LatentCache, NoCache
from ropewalk.configs.shape import read_model
from ropewalk.configs.unknown import Unknown, known
from ropewalk.core.errors import RopewalkError

LLAMA_31_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
GEMMA_3_27B = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "head_dim": 128,
        "hidden_size": 5376,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "num_hidden_layers": 62,
        "sliding_window": 1024,
        "query_pre_attn_scalar": 168,
        "max_position_embeddings": 131072,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "num_hidden_layers": 61,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "max_position_embeddings": 163840,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
    },
}
QWEN_3_NEXT = {
    "model_type": "qwen3_next",
    "head_dim": 256,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "num_hidden_layers": 48,
    "full_attention_interval": 4,
    "partial_rotary_factor": 0.25,
    "max_position_embeddings": 262144,
    "rope_theta": 10000000,
}


def test_a_model_of_one_kind_of_layer():
    shape = read_model(LLAMA_31_8B)
    (kind,) = known(shape.kinds)
    assert kind.layer_type == "full_attention"
    assert kind.layers == tuple(range(32))
    assert kind.attention == Full()
    assert kind.cache == KeyCache(key_heads=8, key_dim=128, value_dim=128)
    assert kind.rope == shape.rope("full_attention")
    rope = shape.rope()
    assert (rope.rope_type, rope.rope_theta, rope.pairing) == ("llama3", 500000.0, "half")
    assert (rope.max_position_embeddings, rope.longest_key) == (131072, "max_position_embeddings")
    assert rope.trained_length == 8192
    assert rope.trained_length_key == "original_max_position_embeddings"
    assert rope.written == LLAMA_31_8B["rope_scaling"]
    assert not rope.nested


def test_a_text_model_inside_with_windows_and_a_base_of_their_own():
    """Every sixth layer of Gemma 3 attends fully; the others turn by the local base, unscaled."""
    shape = read_model(GEMMA_3_27B)
    assert (shape.text_section, shape.model_type) == (("text_config",), "gemma3_text")
    sliding, full = known(shape.kinds)
    assert sliding.layers[:6] == (0, 1, 2, 3, 4, 6)
    assert full.layers == (5, 11, 17, 23, 29, 35, 41, 47, 53, 59)
    assert (sliding.attention, full.attention) == (Sliding(1024), Full())
    assert (known(sliding.rope).rope_theta, known(sliding.rope).rope_type) == (1e4, "default")
    assert (known(full.rope).rope_theta, known(full.rope).rope_type) == (1e6, "linear")
    assert known(full.rope).softmax_scale == pytest.approx(168**-0.5, rel=1e-15)
    assert sliding.cache == full.cache == KeyCache(key_heads=16, key_dim=128, value_dim=128)


def test_latent_attention():
    shape = read_model(DEEPSEEK_V3)
    (kind,) = known(shape.kinds)
    assert kind.cache == LatentCache(latent_dim=512, rotary_dim=64, indexer_dim=0)
    rope = shape.rope()
    assert (rope.latent_attention, rope.head_dim, rope.pairing) == (True, 64, "interleaved")
    assert rope.softmax_scale == pytest.approx(192**-0.5, rel=1e-15)
    assert rope.geometry().trained_length == 4096


def test_layers_without_attention_turn_nothing_and_cache_nothing():
    linear, full = known(read_model(QWEN_3_NEXT).kinds)
    assert (len(linear.layers), len(full.layers)) == (36, 12)
    assert (linear.attention, linear.rope, linear.cache) == (Recurrent(), None, NoCache())
    assert known(full.rope).geometry().rotary_dim == 64
    letters = {**LLAMA_31_8B, "hybrid_override_pattern": "ME-*"}
    kinds = known(read_model(letters).kinds)
    assert [kind.attention for kind in kinds] == [
        *(Recurrent(), NoAttention(), NoAttention(), Full())
    ]


def test_layers_with_attention_and_without_positions():
    """Command R7B's rope dicts name the layers that turn: those with a window."""
    config = {
        **LLAMA_31_8B,
        "sliding_window": 4096,
        "layer_types": ["sliding_attention", "full_attention"] * 16,
        "rope_parameters": {"sliding_attention": {"rope_theta": 50000.0}},
        "rope_scaling": None,
    }
    sliding, full = known(read_model(config).kinds)
    assert known(sliding.rope).rope_theta == 50000.0
    assert full.rope is None
    assert full.cache == sliding.cache


def test_chunks_and_layers_that_read_an_earlier_cache():
    kinds = known(read_model({**LLAMA_31_8B, "attention_chunk_size": 8192}).kinds)
    assert [kind.attention for kind in kinds] == [Chunked(8192)]
    own, shared = known(read_model({**LLAMA_31_8B, "num_kv_shared_layers": 10}).kinds)
    assert (own.layers, shared.layers) == (tuple(range(22)), tuple(range(22, 32)))
    assert (own.attention, shared.attention) == (Full(), Full())
    assert shared.cache == NoCache()
    assert shared.rope == own.rope


def test_key_heads_of_each_layer_are_kinds_of_their_own():
    first, second = known(read_model({**LLAMA_31_8B, "num_key_value_heads": [8, 4] * 16}).kinds)
    assert (first.layers[:2], second.layers[:2]) == ((0, 2), (1, 3))
    assert known(second.cache).numbers_per_token == 4 * (128 + 128)


def test_what_is_missing_is_raised_by_what_needs_it():
    """Enough for an inspection, too little for the memory of a cache."""
    config = {"head_dim": 64, "rope_theta": 1e4, "max_position_embeddings": 256}
    shape = read_model(config)
    assert shape.rope().head_dim == 64
    assert isinstance(shape.kinds, Unknown)
    with pytest.raises(RopewalkError, match="num_hidden_layers"):
        known(shape.kinds)
    (kind,) = known(read_model({**config, "num_hidden_layers": 2}).kinds)
    with pytest.raises(RopewalkError, match="num_key_value_heads"):
        known(kind.cache)
    shape = read_model({**LLAMA_31_8B, "rope_theta": "many"})
    assert known(known(shape.kinds)[0].cache).numbers_per_token == 2048
    with pytest.raises(RopewalkError, match="rope_theta"):
        shape.rope()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rope_scaling": "yarn"}, "rope_scaling"),
        ({"rope_parameters": [1], "rope_scaling": None}, "rope_parameters"),
    ],
)
def test_what_is_no_rope_dict_is_refused_at_once(keys, said):
    with pytest.raises(RopewalkError, match=said):
        read_model({**LLAMA_31_8B, **keys})


@pytest.mark.parametrize(
    ("read", "unread"),
    [
        (("factor",), ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")),
        (("factor", "low_freq_factor", "original_max_position_embeddings"), ("high_freq_factor",)),
    ],
)
def test_unread_keys_are_those_stated_and_not_read(read, unread):
    assert read_model(LLAMA_31_8B).rope().unread(read) == unread


def test_keys_that_say_something_else_than_speed_are_never_unread():
    keys = {"mrope_section": [8, 12, 12], "llama_4_scaling_beta": 0.1, "beta_fast": None}
    rope = read_model({**LLAMA_31_8B, "rope_scaling": {"rope_type": "default", **keys}}).rope()
    assert rope.unread(()) == ()


def test_a_model_of_32_layers_is_read_once_when_a_method_is_installed(monkeypatch):
    """Whoever reads a config reads its text model; layers used to, four times each."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import ropewalk as rw

    config = LlamaConfig(
        hidden_size=8,
        intermediate_size=8,
        num_attention_heads=1,
        num_key_value_heads=1,
        num_hidden_layers=32,
        vocab_size=16,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    reads = []
    read = shapes.text_model
    monkeypatch.setattr(
        shapes, "text_model", lambda config: reads.extend([1] * bool(config)) or read(config)
    )
    with rw.extend(model, "yarn:factor=4"):
        assert len(reads) == 1
