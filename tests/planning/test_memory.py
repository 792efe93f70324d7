"""Blocks of engines, weights of files, and the longest context that fits beside them."""

import json

import pytest
import torch
from safetensors.torch import save_file

import ropewalk as rw
from ropewalk.core.sizes import memory_in_bytes
from ropewalk.planning.weights import weight_bytes

CONFIG = {
    **{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "rope_theta": 1e4},
    **{"num_key_value_heads": 2, "num_hidden_layers": 3, "max_position_embeddings": 4096},
}
A_TOKEN = 2 * 2 * 16 * 3 * 2
"""Keys and values, 2 heads, 16 channels, 3 layers, 2 bytes."""
GEMMA = {
    **{"model_type": "gemma3_text", "hidden_size": 64, "num_attention_heads": 4, "head_dim": 16},
    **{"num_key_value_heads": 2, "num_hidden_layers": 6, "max_position_embeddings": 8192},
    **{"sliding_window": 1000, "sliding_window_pattern": 6},
}


def blocks(config, length, batch=1):
    found = rw.plan(config, length, batch)["kv_cache"]["blocks"]
    return {engine: each["bytes"] for engine, each in found.items()}


def test_engines_take_whole_blocks():
    found = blocks(CONFIG, 1001, batch=2)
    assert found == {
        "transformers": 2 * 1001 * A_TOKEN,
        "vllm": 2 * 1008 * A_TOKEN,
        "sglang": 2 * 1001 * A_TOKEN,
        "llama.cpp": 2 * 1024 * A_TOKEN,
    }


def test_llama_cpp_keeps_room_for_a_batch_ahead_of_a_window():
    """Window 1,000 and 512 ahead are 1,512, padded to 1,536; a short context is what it is."""
    layer = 2 * 2 * 16 * 2
    assert blocks(GEMMA, 4096)["llama.cpp"] == layer * (5 * 1536 + 4096)
    assert blocks(GEMMA, 1100)["llama.cpp"] == layer * 6 * 1280
    assert blocks(GEMMA, 4096)["vllm"] == layer * (5 * 1008 + 4096)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("24GB", 24 * 10**9), ("24GiB", 24 * 2**30), ("1.5 TB", 15 * 10**11)),
        *(("80gb", 80 * 10**9), ("512 MiB", 2**29), ("1000", 1000), ("7b", 7)),
    ],
)
def test_a_memory_is_read(text, size):
    assert memory_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "24 PB", "1e9", "nan", "0", "9" * 30])
def test_a_memory_that_is_none_is_refused(text):
    with pytest.raises(rw.RopewalkError, match="memory="):
        rw.plan(CONFIG, 4096, memory=text)


@pytest.fixture
def folder(tmp_path):
    """Two files with 1,000 and 500 numbers of two bytes, 100 of four."""
    tensors = {"a": torch.zeros(10, 100, dtype=torch.bfloat16), "b": torch.zeros(100)}
    save_file(tensors, tmp_path / "model-1.safetensors", metadata={"format": "pt"})
    save_file({"c": torch.zeros(500).half()}, tmp_path / "model-2.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_weights_are_counted_from_their_headers(folder, tmp_path_factory):
    assert weight_bytes(folder) == 2000 + 400 + 1000
    empty = tmp_path_factory.mktemp("empty")
    assert weight_bytes(empty) is None
    (empty / "model.gguf").write_bytes(b"GGUF" + bytes(96))
    assert weight_bytes(empty / "model.gguf") == 100


@pytest.mark.parametrize("content", [b"", b"\x05", b"\xff" * 64, b"\x04\0\0\0\0\0\0\0nope"])
def test_a_file_that_is_cut_off_is_told(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(rw.RopewalkError, match="no safetensors header"):
        weight_bytes(tmp_path)


@pytest.mark.parametrize("config", [CONFIG, GEMMA], ids=["full", "sliding"])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_longest_context_fits_and_one_token_more_does_not(config, batch):
    memory = 3_000_000
    fit = rw.plan(config, 64, batch, memory=memory)["memory"]
    assert fit["weights"] is None
    longest = fit["longest"]
    taken = [rw.plan(config, n, batch)["kv_cache"]["bytes"] for n in (longest, longest + 1)]
    assert taken[0] <= memory < taken[1]


def test_weights_take_their_part(folder):
    weights, tokens = 3400, 17
    fit = rw.plan(folder, 64, memory=weights + tokens * A_TOKEN)["memory"]
    assert (fit["weights"], fit["left"], fit["longest"]) == (weights, tokens * A_TOKEN, tokens)
    assert rw.plan(folder, 64, memory=100)["memory"]["longest"] == 0
    assert rw.plan(folder, 64)["memory"] is None


def test_a_cache_that_does_not_grow_has_no_longest_context():
    windows = {**GEMMA, "layer_types": ["sliding_attention"] * 6}
    assert rw.plan(windows, 4096, memory="1GB")["memory"]["longest"] is None
