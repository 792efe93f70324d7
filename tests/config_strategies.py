"""Strategies for configs, near to usable ones and far from them."""

import math

from hypothesis import strategies as st

from ropewalk.methods.from_config import ROPE_TYPES

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2, 3, 1.5, 10**30, -(10**30), 10**400, 5e-324, 1e308]),
    st.sampled_from([math.nan, math.inf, -math.inf, "", "abc", "8192", [], [1.0], {}, {"a": {}}]),
    st.integers(-4, 4096),
    st.floats(allow_nan=True),
    st.lists(st.floats(allow_nan=True), max_size=4),
    st.text(max_size=4),
)
PLAIN = st.sampled_from([2, 4, 16, 64, 256, 8192])
NUMBERS = st.one_of(PLAIN, st.sampled_from([0.25, 0.5, 1.0, 4.0, 40.0]), JUNK)
ROPE_KEYS = (
    "factor",
    "rope_theta",
    "original_max_position_embeddings",
    "beta_fast",
    "beta_slow",
    "truncate",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "short_factor",
    "long_factor",
    "short_mscale",
    "long_mscale",
    "low_freq_factor",
    "high_freq_factor",
    "partial_rotary_factor",
    "alpha",
    "llama_4_scaling_beta",
)
ROPE_DICTS = st.builds(
    lambda keys, kind: {**keys, **kind},
    st.dictionaries(st.sampled_from(ROPE_KEYS), NUMBERS, max_size=8),
    st.fixed_dictionaries({"rope_type": st.one_of(st.sampled_from([*ROPE_TYPES, "su"]), JUNK)}),
)
TOP_KEYS = (
    "hidden_size",
    "num_attention_heads",
    "head_dim",
    "global_head_dim",
    "qk_rope_head_dim",
    "qk_nope_head_dim",
    "max_position_embeddings",
    "max_trained_positions",
    "original_max_position_embeddings",
    "rope_theta",
    "rotary_emb_base",
    "rope_local_base_freq",
    "partial_rotary_factor",
    "rotary_pct",
    "rotary_dim",
    "layer_types",
    "model_type",
    "rope_interleave",
    "query_pre_attn_scalar",
    "attention_multiplier",
)
FLAT = st.builds(
    lambda usable, keys, rope, name: {**usable, **keys, **({name: rope} if name else {})},
    st.just({"head_dim": 64, "rope_theta": 1e4, "max_position_embeddings": 256}),
    st.dictionaries(st.sampled_from(TOP_KEYS), NUMBERS, max_size=4),
    st.one_of(
        ROPE_DICTS,
        st.dictionaries(
            st.sampled_from(["full_attention", "sliding_attention"]), st.one_of(ROPE_DICTS, JUNK)
        ),
        JUNK,
    ),
    st.sampled_from(["rope_scaling", "rope_parameters", ""]),
)
CONFIGS = st.one_of(
    FLAT, st.builds(lambda outer, inner: {**outer, "text_config": inner}, FLAT, FLAT)
)
