"""A config.json read as an encoding: dialects, precedence, layer types, native scores."""

import math

import pytest
import torch
from torch.testing import assert_close

from readings import encoding_from_config, inspect_config, read_rope_section, softmax_scale
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import Fixed, WholeSequence
from ropewalk.methods.build import encoding


def llama(**keys):
    return {
        "model_type": "llama",
        "hidden_size": 128,
        "num_attention_heads": 2,
        "max_position_embeddings": 1024,
        "rope_theta": 10000.0,
        **keys,
    }


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}


@pytest.mark.parametrize(
    "config",
    [
        llama(rope_scaling=YARN),
        llama(rope_parameters=YARN),
        llama(rope_theta=5.0, rope_parameters={**YARN, "rope_theta": 10000.0}),
        llama(rope_scaling={**YARN, "type": "linear"}),
        llama(rope_scaling=YARN, rope_parameters={"rope_type": "linear", "factor": 2.0}),
        llama(rope_scaling=None, rope_parameters=YARN),
        llama(rope_parameters={"full_attention": YARN, "sliding_attention": {"factor": 9.0}}),
        {"text_config": llama(rope_scaling=YARN), "rope_scaling": {"type": "linear"}},
        {
            **llama(rope_scaling={"type": "linear", "factor": 2.0}),
            "text_config": {"rope_parameters": YARN},
        },
    ],
)
def test_every_dialect_of_one_encoding_reads_the_same(config):
    geometry = RopeGeometry(head_dim=64, rope_theta=1e4, trained_length=256)
    assert encoding_from_config(config) == encoding("yarn:factor=4", geometry)
    assert RopeGeometry.from_config(config) == geometry


@pytest.mark.parametrize(
    ("keys", "rotary_dim"),
    [
        ({"partial_rotary_factor": 0.5}, 32),
        ({"rotary_pct": 0.25}, 16),
        ({"rotary_emb_fraction": 0.75}, 48),
        ({"rotary_dim": 24}, 24),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}, "rotary_pct": 0.25}, 32),
        ({"head_dim": 96}, 96),
        ({"head_dim": None}, 64),
    ],
)
def test_partial_rotations_are_read_in_every_spelling(keys, rotary_dim):
    assert read_rope_section(llama(**keys)).geometry().rotary_dim == rotary_dim


@pytest.mark.parametrize("head_dim", range(2, 130, 2))
def test_a_stated_rotary_dim_survives_as_a_share(head_dim):
    for rotary_dim in range(2, head_dim + 1, 2):
        section = read_rope_section(llama(head_dim=head_dim, rotary_dim=rotary_dim))
        assert section.geometry().rotary_dim == rotary_dim


@pytest.mark.parametrize(
    ("scaling", "beside", "trained_length"),
    [
        ({"rope_type": "yarn", "factor": 4.0}, {}, 1024),
        (YARN, {}, 256),
        (YARN, {"original_max_position_embeddings": 128}, 128),
        ({"full_attention": YARN}, {"original_max_position_embeddings": 128}, 256),
        (
            {"full_attention": {"rope_type": "yarn", "factor": 4.0}},
            {"original_max_position_embeddings": 128},
            1024,
        ),
        ({**YARN, "rope_type": "dynamic"}, {}, 1024),
        ({**YARN, "rope_type": "dynamic"}, {"max_trained_positions": 512}, 512),
        ({**YARN, "rope_type": "linear"}, {}, 1024),
    ],
)
def test_the_rope_type_picks_the_trained_length(scaling, beside, trained_length):
    config = llama(rope_parameters=scaling, **beside)
    assert read_rope_section(config).trained_length == trained_length


@pytest.mark.parametrize("full", [{}, {"full_attention": None}])
def test_without_full_attention_that_turns_the_first_layer_type_that_turns_is_read(full):
    """Command R7B's layers with full attention have no positions."""
    config = llama(rope_parameters={**full, "sliding_attention": {"rope_theta": 500.0}})
    assert read_rope_section(config).rope_theta == 500.0
    assert read_rope_section(config).layer_type == "sliding_attention"


def test_a_layer_type_without_rope_parameters_is_refused():
    config = llama(rope_parameters={"full_attention": None, "sliding_attention": {}})
    with pytest.raises(RopewalkError, match="full_attention has no rope parameters"):
        read_rope_section(config, "full_attention")


def test_an_unknown_layer_type_is_refused_with_the_known_ones():
    config = llama(layer_types=["full_attention", "sliding_attention"])
    with pytest.raises(RopewalkError, match="full_attention, sliding_attention"):
        read_rope_section(config, "chunked")


def test_gemma_3_turns_sliding_layers_with_the_local_base():
    config = llama(rope_local_base_freq=500.0, rope_scaling={"type": "linear", "factor": 8.0})
    geometry = RopeGeometry(head_dim=64, rope_theta=500.0, trained_length=1024)
    assert encoding_from_config(config, "sliding_attention") == encoding("none", geometry)
    assert encoding_from_config(config, "full_attention").geometry.rope_theta == 10000.0


@pytest.mark.parametrize(
    ("keys", "pairing"),
    [
        ({}, "half"),
        ({"model_type": "cohere"}, "interleaved"),
        ({"model_type": "deepseek_v3"}, "interleaved"),
        ({"model_type": "deepseek_v3", "rope_interleave": False}, "half"),
        ({"model_type": "gptj", "rotary_dim": 64}, "interleaved"),
    ],
)
def test_pairing_is_the_family_s_unless_stated(keys, pairing):
    assert read_rope_section(llama(**keys)).pairing == pairing


def test_a_base_that_is_not_stated_is_the_family_s():
    config = llama(rope_scaling=None)
    del config["rope_theta"]
    assert read_rope_section(config).rope_theta == 10_000.0
    assert read_rope_section({**config, "model_type": "gpt_oss"}).rope_theta == 150_000.0


@pytest.mark.parametrize(
    "scaling",
    [
        {"type": "dynamic", "factor": 2.0},
        {"type": "su", "short_factor": [1.0] * 32, "long_factor": [2.0] * 32},
    ],
)
def test_length_dependent_types_follow_the_whole_sequence(scaling):
    native = encoding_from_config(llama(rope_scaling=scaling))
    assert native.length_policy == WholeSequence(trained_length=1024)
    assert native.frequencies.length_dependent


def test_static_types_are_settled_at_the_trained_length():
    assert encoding_from_config(llama()).length_policy == Fixed(length=1024)


def test_hunyuan_s_dynamic_alpha_is_one_static_base():
    """10000 * 1000^(128/126) = 11158839.92507748."""
    config = llama(head_dim=128, rope_scaling={"type": "dynamic", "alpha": 1000.0, "factor": 1.0})
    frequencies = encoding_from_config(config).frequencies
    expected = 11158839.92507748 ** (-2 / 128)
    assert frequencies.inv_freq(10**6)[1].item() == pytest.approx(expected, rel=1e-12)
    assert not frequencies.length_dependent


def test_ministral_3_scales_queries_in_steps_of_the_trained_length():
    config = llama(rope_parameters={**YARN, "llama_4_scaling_beta": 0.1})
    rows = torch.tensor([0, 255, 256, 511, 512, 1023])
    expected = [1 + 0.1 * math.log(1 + step) for step in (0, 0, 1, 1, 2, 3)]
    actual = encoding_from_config(config).query_scale(rows)
    assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, 64**-0.5),
        ({"partial_rotary_factor": 0.5}, 64**-0.5),
        ({"query_pre_attn_scalar": 144}, 1 / 12),
        ({"attention_multiplier": 0.015625}, 0.015625),
        ({"rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}}, 64**-0.5),
    ],
)
def test_softmax_scale_without_latent_attention(keys, expected):
    assert softmax_scale(llama(**keys)) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "no rope fields"),
        ({"model_type": "gpt2", "n_positions": 1024, "n_embd": 64, "n_head": 2}, "no rope fields"),
        ([1, 2], "JSON object"),
        (llama(max_position_embeddings=None), "max_position_embeddings"),
        (llama(max_position_embeddings=10**30), "max_position_embeddings"),
        (llama(num_attention_heads=0), "num_attention_heads"),
        (llama(hidden_size=None), "head_dim"),
        (llama(rope_theta="abc"), "rope_theta"),
        (llama(rope_theta=None), "rope_theta"),
        (llama(rope_theta=True), "rope_theta"),
        (llama(rope_theta=math.nan), "rope_theta"),
        (llama(rope_theta=10**400), "rope_theta"),
        (llama(rope_scaling="yarn"), "rope_scaling"),
        (llama(rope_scaling={"rope_type": 4}), "rope_type"),
        (llama(rope_scaling={"factor": 4.0}), "rope_type"),
        (llama(rope_scaling={"rope_type": "yarm", "factor": 4.0}), "did you mean yarn"),
        (llama(rope_scaling={"rope_type": "linear"}), "factor"),
        (llama(rope_scaling={"rope_type": "linear", "factor": "4"}), "factor"),
        (llama(rope_scaling={**YARN, "truncate": "no"}), "truncate"),
        (llama(rope_scaling={"rope_type": "longrope", "factor": 4.0}), "short_factor"),
        (llama(partial_rotary_factor=0), "partial_rotary_factor"),
    ],
)
def test_configs_with_which_no_rotation_exists_are_refused(config, said):
    with pytest.raises(RopewalkError, match=said):
        encoding_from_config(config)


def test_inspect_names_the_pairs_that_leave_their_trained_range():
    """theta_i = 10^(-i/4), d 32: pair i never completes a turn in 256 tokens from i = 7 on."""
    config = llama(head_dim=32, max_position_embeddings=256)
    document = inspect_config(config, context_length=1024)
    assert [pair["out_of_range"] for pair in document["pairs"]] == [False] * 7 + [True] * 9
    pair = document["pairs"][8]
    assert pair["largest_trained_angle"] == pytest.approx(255 * 0.01, rel=1e-12)
    assert pair["largest_angle"] == pytest.approx(1023 * 0.01, rel=1e-12)
    assert pair["wavelength"] == pytest.approx(200 * math.pi, rel=1e-12)
    assert pair["turns_in_training"] == pytest.approx(2.56 / (2 * math.pi), rel=1e-12)


@pytest.mark.parametrize(
    ("method", "safe_length"),
    [("none", 256), ("linear:factor=4", 1024), ("yarn:factor=4", 1024), ("temperature:tau=2", 256)],
)
def test_inspect_finds_the_safe_length(method, safe_length):
    config = llama(max_position_embeddings=256)
    assert inspect_config(config, method=method)["safe_length"] == safe_length


def test_inspect_defaults_to_native_at_the_longest_admitted_length():
    document = inspect_config(llama(rope_scaling=YARN))
    assert document["method"] == "native"
    assert document["context_length"] == 1024
    assert document["trained_length"] == 256
    assert document["attention_factor"] == pytest.approx(1 + 0.1 * math.log(4), rel=1e-15)
    assert document["logit_scale"] == 1.0
    assert document["softmax_scale"] == 0.125


def test_inspect_reports_tau_of_the_last_row_and_resolves_factor_from_the_length():
    config = llama(max_position_embeddings=256)
    document = inspect_config(
        config, context_length=65536, method="linear:factor=length+log_n:base_length=256"
    )
    assert document["logit_scale"] == pytest.approx(2.0, rel=1e-15)
    assert document["inv_freq"][0] == 1 / 256


@pytest.mark.parametrize("length", [0, 1, 2**41, 4.5, True])
def test_inspect_refuses_lengths_that_are_none(length):
    with pytest.raises(RopewalkError, match="context_length"):
        inspect_config(llama(), context_length=length)
