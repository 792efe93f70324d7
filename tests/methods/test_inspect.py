"""What an inspection says beside the frequencies: critical dimension, safe lengths, warnings."""

import math

import pytest
import torch

import ropewalk as rw
from ropewalk.methods.config_warnings import distinct_positions

ORIGINAL = "original_max_position_embeddings"
LLAMA = {"head_dim": 128, "rope_theta": 1e4, "max_position_embeddings": 4096}
YARN = {"rope_type": "yarn", "factor": 4.0, ORIGINAL: 1024}


def warned(config, **asked):
    return {w["id"] for w in rw.inspect(config, **asked)["warnings"]}


@pytest.mark.parametrize(
    ("theta", "trained", "expected"),
    [
        (1e4, 4096, 92),  # 64 * log(651.9) / log(1e4) = 45.02
        (5e5, 8192, 70),  # 64 * log(1303.8) / log(5e5) = 34.99
        (1e4, 6, 0),  # nothing turns once in less than 2 pi tokens
        (2.0, 2**20, 128),  # everything does
    ],
)
def test_critical_dimension_is_the_papers(theta, trained, expected):
    config = {**LLAMA, "rope_theta": theta, "max_position_embeddings": trained}
    assert rw.inspect(config)["critical_dimension"] == expected


def test_pairs_without_a_full_turn_are_those_beyond_the_critical_dimension():
    document = rw.inspect(LLAMA)
    wavelengths = [2 * math.pi * 1e4 ** (2 * i / 128) for i in range(64)]
    assert document["pairs_without_full_turn"] == sum(w > 4096 for w in wavelengths) == 64 - 46


def test_the_safe_length_without_scaling_is_the_trained_one():
    document = rw.inspect({**LLAMA, "rope_scaling": YARN})
    assert document["safe_length"] == 4096
    assert document["unscaled_safe_length"] == 1024


@pytest.mark.parametrize(
    ("rope", "unread"),
    [
        (YARN, set()),
        ({**YARN, "attn_factor": 2.0, "nonsense": 1.0}, {"attn_factor", "nonsense"}),
        ({**YARN, "mscale": 1.0}, {"mscale"}),
        ({**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}, set()),
        ({"type": "linear", "factor": 2.0, ORIGINAL: 9}, {ORIGINAL}),
        ({"type": "dynamic", "factor": 2.0, "beta_fast": 32}, {"beta_fast"}),
        ({"rope_type": "default", "factor": 4.0}, {"factor"}),
        ({"rope_type": "default", "factor": None, "mrope_section": [16, 24, 24]}, set()),
    ],
)
def test_keys_that_nothing_reads_are_named(rope, unread):
    warnings = rw.inspect({**LLAMA, "rope_scaling": rope})["warnings"]
    named = {w["message"].split()[0] for w in warnings if w["id"] == "unread-key"}
    assert named == unread


@pytest.mark.parametrize("key", sorted({*YARN, "beta_fast", "beta_slow", "attention_factor"}))
def test_a_key_that_is_called_read_changes_something(key):
    """The table of read keys against what the reading does."""
    changed = {"factor": 8.0, "original_max_position_embeddings": 512, "beta_fast": 8.0}
    changed |= {"beta_slow": 4.0, "attention_factor": 3.0, "rope_type": "linear"}
    before = rw.inspect({**LLAMA, "rope_scaling": YARN})
    after = rw.inspect({**LLAMA, "rope_scaling": {**YARN, key: changed[key]}})
    same = [before[name] == after[name] for name in ("inv_freq", "attention_factor")]
    assert not all(same)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model_type": "gemma3_text", "layer_types": ["full_attention"] * 3}, "layer_types has 3"),
        ({"model_type": "smollm3", "no_rope_layers": [1, 0]}, "no_rope_layers has 2"),
        ({"model_type": "mistral", "sliding_window": -1}, "sliding_window=-1"),
    ],
)
def test_layers_that_cannot_be_read_are_named(keys, said):
    """And neither their memory nor a table of them is guessed."""
    config = {**LLAMA, "num_hidden_layers": 4, **keys}
    (warning,) = [w for w in rw.inspect(config)["warnings"] if w["id"] == "unknown-layers"]
    assert said in warning["message"]
    assert rw.inspect(config)["layers"] == []
    memory = rw.plan(config, 4096)["kv_cache"]
    assert memory["bytes"] is None
    assert said in memory["reason"]


def test_two_places_for_one_thing_are_named():
    linear = {"rope_type": "linear", "factor": 2.0}
    assert "two-rope-dicts" in warned({**LLAMA, "rope_scaling": YARN, "rope_parameters": linear})
    assert "two-rope-dicts" not in warned({**LLAMA, "rope_scaling": YARN, "rope_parameters": YARN})
    beside = {**LLAMA, "rope_scaling": YARN, "original_max_position_embeddings": 512}
    assert "two-lengths" in warned(beside)
    assert rw.inspect(beside)["trained_length"] == 512


@pytest.mark.parametrize(
    ("keys", "length", "expected"),
    [
        ({"torch_dtype": "bfloat16"}, 257, False),
        ({"torch_dtype": "bfloat16"}, 258, True),
        ({"dtype": "torch.bfloat16"}, 4096, True),
        ({"dtype": "float16"}, 2049, False),
        ({"dtype": "float16"}, 2050, True),
        ({"dtype": "float32"}, 4096, False),
        ({}, 4096, False),
    ],
)
def test_dtypes_that_lose_positions_are_named_where_they_do(keys, length, expected):
    found = warned({**LLAMA, **keys}, context_length=length)
    assert ("position-precision" in found) == expected


@pytest.mark.parametrize(("bits", "dtype"), [(8, torch.bfloat16), (11, torch.float16)])
def test_distinct_positions_are_what_rounding_leaves(bits, dtype):
    for length in (2, 256, 257, 258, 259, 511, 515, 1023, 1024, 2049, 2050, 5000, 30001, 65504):
        assert distinct_positions(length, bits) == len(torch.arange(length).to(dtype).unique())


def test_xpos_scales_leave_float16_where_they_do():
    (warning,) = rw.inspect({**LLAMA, "use_xpos": True})["warnings"]
    assert warning["id"] == "xpos-overflow"
    assert "from 9,065 tokens on" in warning["message"]
    zeta = 0.4 / 1.4
    assert torch.tensor(zeta ** -(9064 / 2 / 512)).half().isfinite()
    assert torch.tensor(zeta ** -(9072 / 2 / 512)).half().isinf()
    assert warned({**LLAMA, "rotary_emb_scale_base": None}) == set()
    assert warned({**LLAMA, "rotary_emb_scale_base": 256}) == {"xpos-overflow"}
