"""Memory of the key-value cache against published numbers and sums done by hand."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config_strategies import FLAT, JUNK
from readings import kv_cache
from ropewalk.configs.shape import read_model
from ropewalk.configs.unknown import known
from ropewalk.core.errors import RopewalkError
from ropewalk.planning.kv_cache import kept_as

ROPE = {"rope_theta": 10000.0, "max_position_embeddings": 4096}
GIB = 2**30


def model(layers, heads, key_heads, head_dim, **keys):
    return {
        **ROPE,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "hidden_size": heads * head_dim,
        **keys,
    }


LLAMA_2_7B = model(32, 32, 32, 128)
DEEPSEEK_V3 = {**model(61, 128, 128, 56), "kv_lora_rank": 512, "qk_rope_head_dim": 64}


@pytest.mark.parametrize(
    ("config", "kilobytes"),
    [
        (DEEPSEEK_V3, 70.272),
        (model(80, 64, 8, 128), 327.680),  # Qwen-2.5 72B
        (model(126, 128, 8, 128), 516.096),  # Llama-3.1 405B
    ],
    ids=["deepseek-v3", "qwen-2.5-72b", "llama-3.1-405b"],
)
def test_bytes_per_token_are_the_published_ones(config, kilobytes):
    """Zhao et al. 2025, Insights into DeepSeek-V3, arXiv:2505.09343, table 1 (bf16)."""
    found = kv_cache(config, 4096)
    assert found["bytes_per_token"] == kilobytes * 1000
    assert found["bytes"] == kilobytes * 1000 * 4096


@pytest.mark.parametrize(
    ("config", "gibibytes"),
    [
        (LLAMA_2_7B, 128),
        (model(32, 32, 8, 128), 32),  # Mistral 7B and Mixtral without their window
        (model(32, 32, 8, 128, attn_layer_period=8, attn_layer_offset=4), 4),  # Jamba
    ],
    ids=["llama-2-7b", "mixtral", "jamba"],
)
def test_memory_at_256_thousand_tokens_is_the_published_one(config, gibibytes):
    """Lieber et al. 2024, Jamba, arXiv:2403.19887, table 1 (256K tokens, 16 bits)."""
    assert kv_cache(config, 2**18, dtype="fp16")["bytes"] == gibibytes * GIB


@pytest.mark.parametrize(
    ("batch", "dtype", "gibibytes"),
    [(1, "bf16", 2), (4, "bf16", 8), (1, "fp32", 4), (1, "fp8", 1), (3, "int8", 3)],
)
def test_batch_and_dtype_multiply(batch, dtype, gibibytes):
    assert kv_cache(LLAMA_2_7B, 4096, batch=batch, dtype=dtype)["bytes"] == gibibytes * GIB


def test_sliding_layers_stop_growing():
    """Gemma 3 27B at 128K: 10 of 62 layers full, the others keep 1,024 tokens."""
    config = model(62, 32, 16, 128, model_type="gemma3_text", sliding_window=1024)
    found = kv_cache(config, 131072)
    a_token = 2 * 16 * 128 * 2
    assert found["bytes"] == 10 * 131072 * a_token + 52 * 1024 * a_token
    assert found["bytes_per_token"] == 10 * a_token
    assert [(row["kind"], row["layers"], row["tokens"]) for row in found["layers"]] == [
        ("sliding", 52, 1024),
        ("full", 10, 131072),
    ]
    assert kv_cache(config, 512)["bytes_per_token"] == 62 * a_token


def test_a_global_width_of_its_own_counts_in_full_layers_alone():
    """Gemma 4's: 6 layers, the last one full with heads of 512 channels."""
    config = model(6, 8, 4, 256, global_head_dim=512, sliding_window=512)
    config["layer_types"] = ["sliding_attention"] * 5 + ["full_attention"]
    expected = 5 * 512 * 4 * 2 * 256 + 8192 * 4 * 2 * 512
    assert kv_cache(config, 8192, dtype="fp8")["bytes"] == expected


def test_sparse_latent_attention_keeps_the_indexer_s_keys_too():
    config = {**DEEPSEEK_V3, "index_head_dim": 128}
    assert kv_cache(config, 100, dtype="int8")["bytes"] == 100 * 61 * (512 + 64 + 128)


S, F, N = "sliding", "full", "none"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [F] * 4),
        ({"sliding_window": None}, [F] * 4),
        ({"sliding_window": 8}, [S] * 4),
        ({"model_type": "qwen2", "sliding_window": 8}, [F] * 4),
        ({"use_sliding_window": False, "sliding_window": 8}, [F] * 4),
        ({"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 3}, [F, F, F, S]),
        ({"sliding_window_pattern": 2, "sliding_window": 8}, [S, F, S, F]),
        ({"sliding_window_pattern": "LLG", "sliding_window": 8}, [S, S, F, S]),
        ({"model_type": "gemma2", "sliding_window": 8}, [S, F, S, F]),
        ({"attention_chunk_size": 8}, [S] * 4),
        ({"layer_types": ["linear_attention", "full_attention"] * 2}, [N, F, N, F]),
        ({"layer_types": ["conv", "conv", "full_attention", "mamba"]}, [N, N, F, N]),
        ({"layers_block_type": ["mamba", "hybrid", "attention", "moe"]}, [N, F, F, N]),
        ({"hybrid_override_pattern": "M-*E"}, [N, N, F, N]),
        ({"attn_layer_indices": [1]}, [N, F, N, N]),
        ({"attn_type_list": [0, 0, 0, 1]}, [N, N, N, F]),
        ({"linear_attn_config": {"full_attn_layers": [4]}}, [N, N, N, F]),
        ({"full_attention_interval": 4}, [N, N, N, F]),
        ({"attn_layer_period": 2, "attn_layer_offset": 1}, [N, F, N, F]),
        ({"num_kv_shared_layers": 1}, [F, F, F, N]),
    ],
)
def test_layers_are_told_apart(keys, expected):
    kinds = known(read_model({**model(4, 2, 2, 8), **keys}).kinds)
    by_layer = {index: kept_as(kind) for kind in kinds for index in kind.layers}
    assert [by_layer[index] for index in range(4)] == expected


@pytest.mark.parametrize(
    ("keys", "numbers"),
    [
        ({"num_key_value_heads": [1, 2, 4, 1]}, (1 + 2 + 4 + 1) * 2 * 8),
        ({"num_key_value_heads": None}, 4 * 2 * 2 * 8),
        ({"num_key_value_heads": None, "multi_query": True}, 4 * 1 * 2 * 8),
        ({"v_head_dim": 4}, 4 * 2 * (8 + 4)),
        ({"head_dim": 16}, 4 * 2 * 2 * 16),
    ],
)
def test_heads_are_counted_as_configs_state_them(keys, numbers):
    assert kv_cache({**model(4, 2, 2, 8), **keys}, 10, dtype="int8")["bytes"] == 10 * numbers


@pytest.mark.parametrize(
    ("keys", "asked", "said"),
    [
        ({"num_hidden_layers": None}, {}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**6}, {}, "layers"),
        ({"num_key_value_heads": -1}, {}, "num_key_value_heads"),
        ({"num_key_value_heads": "8"}, {}, "num_key_value_heads"),
        ({"layer_types": ["wavelets"] * 4}, {}, "wavelets"),
        ({"compress_ratios": [0, 4]}, {}, "compress_ratios"),
        ({}, {"dtype": "fp4"}, "bf16, fp16"),
        ({}, {"batch": 0}, "batch"),
        ({}, {"batch": True}, "batch"),
        ({}, {"length": 1}, "length"),
        ({}, {"length": 10**15}, "length"),
    ],
)
def test_what_cannot_be_counted_is_refused(keys, asked, said):
    with pytest.raises(RopewalkError, match=said):
        kv_cache({**model(4, 2, 2, 8), **keys}, **{"length": 64, **asked})


SIZES = (
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size"),
    *("head_dim", "v_head_dim", "kv_lora_rank", "qk_rope_head_dim", "sliding_window"),
    *("layer_types", "sliding_window_pattern", "attn_layer_period", "attn_layer_offset"),
    *(
        "full_attention_interval",
        "attn_layer_indices",
        "num_kv_shared_layers",
        "use_sliding_window",
    ),
    *("hybrid_override_pattern", "linear_attn_config", "attn_type_list", "multi_query"),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(config=FLAT, keys=st.dictionaries(st.sampled_from(SIZES), JUNK, max_size=5), length=JUNK)
def test_any_config_is_counted_or_refused(config, keys, length):
    try:
        found = kv_cache({**config, **model(4, 2, 2, 8), **keys}, length)
    except RopewalkError:
        return
    json.dumps(found, allow_nan=False)
    assert found["bytes"] >= 0
