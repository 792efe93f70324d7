"""Each method at parameters that stand for it, and another value of every parameter."""

from readings import encoding_from_config
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding
from ropewalk.methods.spec import NATIVE

DIM, THETA, L0 = 64, 5e4, 256
GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=THETA, trained_length=L0)
SHORT = [1 + i / 64 for i in range(32)]
LONG = [1 + i / 8 for i in range(32)]
CONFIG = {
    "head_dim": DIM,
    "rope_theta": THETA,
    "max_position_embeddings": L0,
    "rope_scaling": {"rope_type": "linear", "factor": 4.0},
}

# Values with which each method stands for itself.
PARAMETERS = {
    "none": {},
    "linear": {"factor": 4},
    "ntk_aware": {"factor": 4},
    "dynamic_ntk": {},
    "ntk_by_parts": {"factor": 4},
    "yarn": {"factor": 4},
    "dynamic_yarn": {},
    "llama3": {"factor": 4},
    "abf": {"rope_theta": 1e6},
    "longrope": {"short_factor": SHORT, "long_factor": LONG, "factor": 4},
    "proportional": {"partial_rotary_factor": 0.5},
    "clipped": {},
    "resonance": {},
    "rerope": {},
    "leaky_rerope": {"factor": 4},
    "inverse_leaky_rerope": {},
    "self_extend": {"factor": 4},
    "dual_chunk": {},
    "string": {},
    "log_n": {"form": "above", "slope": 0.2},
    "temperature": {"tau": 1.25},
    "yarn_temperature": {"factor": 4},
    "nope": {},
    "alibi": {},
    "t5_bias": {},
    "kerple": {},
    "fire": {},
    "fox": {},
    "inkling": {"log_scaling_n_floor": 128},
    "shaw": {},
    "xpos": {},
    "rope_values": {},
    "learned": {},
    "sinusoidal": {},
}

_RAMP = {"beta_fast": 8.0, "beta_slow": 0.25, "truncate": False, "ramp": "paper"}
_POLICY = {"policy": "whole_sequence", "step": 7}
_MSCALES = {"mscale": 2.0, "mscale_all_dim": 0.5}

# Another value of each parameter than the representative has.
CHANGES = {
    "linear": {"factor": 8},
    "ntk_aware": {"factor": 8},
    "dynamic_ntk": {"factor": 4, **_POLICY},
    "ntk_by_parts": {"factor": 8, **_RAMP},
    "yarn": {"factor": 8, **_RAMP, "attention_factor": 1.5},
    "dynamic_yarn": {**_RAMP, **_POLICY},
    "llama3": {"factor": 8, "low_freq_factor": 0.5, "high_freq_factor": 6.0},
    "abf": {"rope_theta": 2e6},
    "longrope": {
        "short_factor": LONG,
        "long_factor": SHORT,
        "factor": 8,
        "start_tokens": 4,
        "attention_factor": 1.5,
        "short_mscale": 1.5,
        "long_mscale": 1.5,
        **_POLICY,
    },
    "proportional": {"partial_rotary_factor": 0.25, "factor": 2},
    "clipped": {"clip_low_n": 4, "form": "hard"},
    "rerope": {"window": 32},
    "leaky_rerope": {"window": 32, "factor": 8},
    "inverse_leaky_rerope": {"window": 32, "slope": 0.25},
    "self_extend": {"window": 32, "factor": 8},
    "dual_chunk": {"chunk_size": 128, "local_window": 32, "rule": "chunkllama"},
    "string": {"shift": 64, "window": 8, "rule": "code"},
    "log_n": {"base_length": 64, "form": "staircase", "slope": 0.5},
    "temperature": {"tau": 0.5},
    "yarn_temperature": {"factor": 8},
    "alibi": {"slopes": "geometric"},
    "t5_bias": {
        "relative_attention_num_buckets": 16,
        "relative_attention_max_distance": 64,
        "direction": "bidirectional",
    },
    "kerple": {"kernel": "power"},
    "fire": {"threshold": 1024, "units": 8},
    "inkling": {
        "rel_extent": 16,
        "d_rel": 4,
        "log_scaling_n_floor": 64,
        "log_scaling_alpha": 0.5,
    },
    "shaw": {"max_relative_position": 8, "tables": "keys"},
    "xpos": {"scale_base": 64, "gamma": 0.2},
    "rope_values": {"output": "kept"},
    "learned": {"rows": 2 * L0},
    "sinusoidal": {"base": 100.0},
}
_ODD_GROUP = {"factor": None, "group_size": 7, "window": 30}
# Parameters that act beside others only: (all parameters before, all after).
PAIRED_CHANGES = {
    ("yarn", "mscale"): (_MSCALES, {**_MSCALES, "mscale": 3.0}),
    ("yarn", "mscale_all_dim"): (_MSCALES, {**_MSCALES, "mscale_all_dim": 1.0}),
    ("leaky_rerope", "slope"): ({"factor": None, "slope": 4}, {"factor": None, "slope": 8}),
    ("self_extend", "group_size"): (_ODD_GROUP, {**_ODD_GROUP, "group_size": 8}),
    ("self_extend", "rule"): (_ODD_GROUP, {**_ODD_GROUP, "rule": "longlm"}),
    **{
        (name, "new_tokens"): (
            {"policy": "at_admission", "new_tokens": 0},
            {"policy": "at_admission", "new_tokens": 3 * L0},
        )
        for name in ("dynamic_ntk", "dynamic_yarn", "longrope")
    },
    **{
        (name, "length"): (
            {"policy": "fixed", "length": L0},
            {"policy": "fixed", "length": 2 * L0},
        )
        for name in ("dynamic_ntk", "dynamic_yarn", "longrope")
    },
}
# Two lists know two lengths: rows may share a list in any steps.
ONLY_COST = {("longrope", "step")}


def representative(name, geometry=GEOMETRY, **changes):
    """The encoding of that name, with changed parameters; ``native`` is that of CONFIG."""
    if name == NATIVE:
        return encoding_from_config(CONFIG)
    return encoding(name, geometry, **{**PARAMETERS[name], **changes})
