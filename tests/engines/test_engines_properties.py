"""Whatever a config.json holds, an audit answers or refuses it, quickly."""

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ropewalk.api import audit
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.table import ENGINES

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2, 1.5, 10**30, -(10**30), 10**400, 5e-324, 1e308, 1e17]),
    st.sampled_from([math.nan, math.inf, -math.inf, "", "abc", [], [1.0], {}, {"a": {}}]),
    st.integers(-4, 4096),
    st.floats(allow_nan=True),
    st.lists(st.floats(allow_nan=True), max_size=4),
    st.text(max_size=4),
)


def mostly(usual):
    """``usual`` nine times out of ten, else junk."""
    return st.integers(0, 9).flatmap(lambda draw: JUNK if draw == 9 else usual)


NUMBERS = mostly(st.sampled_from([2, 4, 64, 8192, 0.25, 0.5, 1.0, 4.0, 40.0]))
ROPE_KEYS = st.sampled_from(
    [
        "factor",
        "rope_theta",
        "original_max_position_embeddings",
        "beta_fast",
        "beta_slow",
        "truncate",
        "attention_factor",
        "attn_factor",
        "mscale",
        "mscale_all_dim",
        "mixed_b",
        "short_factor",
        "long_factor",
        "short_mscale",
        "long_mscale",
        "low_freq_factor",
        "high_freq_factor",
        "partial_rotary_factor",
        "alpha",
        "max_trained_positions",
        "type",
        "extrapolation_factor",
        "apply_yarn_scaling",
        "mrope_section",
        "llama_4_scaling_beta",
    ]
)
TYPES = st.sampled_from(
    [
        "default",
        "linear",
        "dynamic",
        "yarn",
        "longrope",
        "su",
        "mrope",
        "llama3",
        "proportional",
        "ntk",
        "deepseek_yarn",
        "unheard_of",
    ]
)
LISTS = st.sampled_from([{}, {"short_factor": [1.0] * 32, "long_factor": [2.0] * 32}])
ROPE = st.builds(
    lambda usual, lists, keys, kind: {**usual, **lists, **keys, "rope_type": kind},
    st.just({"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
    LISTS,
    st.dictionaries(ROPE_KEYS, NUMBERS, max_size=3),
    mostly(TYPES),
)
TOP_KEYS = st.sampled_from(
    [
        "hidden_size",
        "num_attention_heads",
        "head_dim",
        "qk_rope_head_dim",
        "qk_nope_head_dim",
        "max_position_embeddings",
        "max_trained_positions",
        "original_max_position_embeddings",
        "rope_theta",
        "rotary_pct",
        "layer_types",
        "model_max_length",
        "n_positions",
        "dtype",
        "max_seq_len",
        "compress_ratios",
        "dual_chunk_attention_config",
        "architectures",
    ]
)
MODEL_TYPES = st.sampled_from(
    [
        "llama",
        "qwen2",
        "qwen2_5_vl",
        "phi3",
        "phimoe",
        "olmo3",
        "nomic_bert",
        "hunyuan_v1_dense",
        "deepseek_v3",
        "gpt_neox",
        "gemma4_text",
        "ministral3",
        "laguna",
    ]
)
NESTED = st.dictionaries(st.sampled_from(["full_attention", "sliding_attention"]), mostly(ROPE))
CONFIGS = st.builds(
    lambda usual, keys, rope, name, kind: {**usual, "model_type": kind, **keys, name: rope},
    st.just({"head_dim": 64, "rope_theta": 1e4, "max_position_embeddings": 8192}),
    st.dictionaries(TOP_KEYS, NUMBERS, max_size=2),
    mostly(st.one_of(ROPE, ROPE, NESTED)),
    st.sampled_from(["rope_scaling", "rope_parameters"]),
    MODEL_TYPES,
)
LAYER_TYPES = st.sampled_from([None, None, None, "full_attention", "sliding_attention", "other"])


def timed_audit(*asked):
    """The document, None for a refusal, and the CPU seconds that it took."""
    begun = time.process_time()
    try:
        document = audit(*asked)
    except RopewalkError:
        document = None
    return document, time.process_time() - begun


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    config=CONFIGS, length=mostly(st.sampled_from([None, 2, 4096, 100_000])), layer_type=LAYER_TYPES
)
def test_an_audit_is_json_or_refused(config, length, layer_type):
    document, seconds = timed_audit(config, length, layer_type)
    if seconds >= 0.2:  # the first config of a family loads the library's class of it
        document, seconds = timed_audit(config, length, layer_type)
    # The slowest of 500 took 0.03 s; a garbage collection may fall into any of them.
    assert seconds < 0.2
    if document is None:
        return
    assert list(document["engines"]) == list(ENGINES)
    json.dumps(document)
    for engine in document["engines"].values():
        assert (engine["inv_freq"] is None) >= (engine["error"] is not None)
        assert all(value >= 0 for value in engine["inv_freq"] or ())
    for finding in document["findings"]:
        assert finding["severity"] in ("error", "warning", "info")
        assert {*finding["engines"]} <= {*ENGINES}
        assert finding["engines"]


@pytest.mark.parametrize("config", [{}, [], "a", None, {"rope_theta": "x"}, {"text_config": 3}])
def test_what_is_no_config_is_refused(config):
    with pytest.raises(RopewalkError):
        audit(config)
