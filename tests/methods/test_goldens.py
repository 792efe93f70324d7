"""Golden vectors: full frequencies, factors and scales, computed independently from the papers."""

import copy
import json
import math

import pytest
import torch
from torch.testing import assert_close
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from places import GOLDENS
from readings import encoding_from_config, read_rope_section, softmax_scale
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.dynamic_ntk import DynamicNTK
from ropewalk.frequencies.yarn_magnitude import yarn_mscale
from ropewalk.methods.build import encoding

CASES = json.loads((GOLDENS / "cases.json").read_text())["cases"]
SPELLINGS = {"ntk": "ntk_aware"}


def of_kind(kind):
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def golden_encoding(case):
    native = encoding_from_config(case["config"], case["layer_type"])
    if case["method"] is None:
        return native
    parameters = dict(case["method"])
    name = parameters.pop("name")
    return encoding(SPELLINGS.get(name, name), native.geometry, **parameters)


def assert_golden(actual, expected):
    """1e-12 relative, element by element; zeros exactly zero."""
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert_close(torch.as_tensor(actual, dtype=torch.float64), wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", of_kind("frequency"))
def test_frequencies_are_golden(case):
    encoding, length = golden_encoding(case), case["context_length"]
    expected = case["expected"]
    assert_golden(encoding.frequencies.inv_freq(length), expected["inv_freq"])
    assert_golden(encoding.frequencies.attention_factor(length), expected["attention_factor"])
    assert encoding.geometry.rotary_dim == expected["rotary_dim"]
    if "softmax_scale" in expected:
        assert_golden(softmax_scale(case["config"]), expected["softmax_scale"])


@pytest.mark.parametrize("case", of_kind("invalid"))
def test_invalid_configs_are_refused(case):
    with pytest.raises(RopewalkError):
        encoding_from_config(case["config"], case["layer_type"])


def test_dynamic_from_another_trained_length_is_the_alternative_reading():
    (case,) = [c for c in CASES if c["id"] == "odd-dynamic-with-original"]
    config = copy.deepcopy(case["config"])
    config["max_trained_positions"] = 4096
    actual = encoding_from_config(config).frequencies.inv_freq(case["context_length"])
    assert_golden(actual, case["alternatives"][0]["inv_freq"])


@pytest.mark.parametrize("case", of_kind("logn_scale"))
def test_log_n_is_golden(case):
    length = case["params"]["trained_length"]
    geometry = RopeGeometry(head_dim=64, rope_theta=1e4, trained_length=length)
    rows = torch.tensor(case["params"]["positions"])
    assert_golden(encoding("log_n", geometry).query_scale(rows), case["expected"]["scale"])


@pytest.mark.parametrize("case", of_kind("yarn_mscale"))
def test_yarn_magnitude_is_golden(case):
    actual = [yarn_mscale(factor) for factor in case["params"]["factors"]]
    assert_golden(actual, case["expected"]["mscale"])


@pytest.mark.parametrize("case", of_kind("dynamic_base"))
def test_dynamic_base_is_golden(case):
    actual = [
        DynamicNTK(
            geometry=RopeGeometry(head_dim=d, rope_theta=b, trained_length=trained), factor=a
        ).base(length)
        for d, b, a, trained, length in case["params"]["cases"]
    ]
    assert_golden(actual, case["expected"]["base"])


@pytest.mark.parametrize("case", of_kind("mla_softmax_scale"))
def test_latent_attention_scale_is_golden(case):
    actual = [
        softmax_scale(latent_config(width, factor, all_dim))
        for width, factor, all_dim in case["params"]["cases"]
    ]
    assert_golden(actual, case["expected"]["scale"])


def latent_config(qk_head_dim, factor, mscale_all_dim):
    return {
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": qk_head_dim - 64,
        "max_position_embeddings": 4096,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "type": "yarn",
            "factor": factor,
            "mscale": 1.0,
            "mscale_all_dim": mscale_all_dim,
        },
    }


def test_latent_attention_scale_ignores_attention_factor():
    config = latent_config(192, 40, 1.0)
    config["rope_scaling"]["attention_factor"] = 7.0
    assert_golden(softmax_scale(config), 192**-0.5 * (1 + 0.1 * math.log(40)) ** 2)


def test_latent_attention_without_scaling_has_no_magnitude():
    config = latent_config(192, 40, 1.0)
    config["rope_scaling"]["type"] = "default"
    assert_golden(softmax_scale(config), 192**-0.5)


def has_library_function(case):
    """Whether transformers has one function for it (default RoPE lies in each model's module)."""
    if case["kind"] != "frequency" or not case["hf_agrees"] or case["method"] is not None:
        return False
    if "global_head_dim" in case["config"]:
        return False
    return read_rope_section(case["config"], case["layer_type"]).rope_type != "default"


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c["id"]) for c in CASES if has_library_function(c)]
)
def test_frequencies_agree_with_transformers(case):
    """The library computes in float32: 2e-6 relative holds its rounding."""
    config, length = library_config(case["config"]), case["context_length"]
    parameters, layer_type = config.rope_parameters, case["layer_type"]
    rope_type = (parameters[layer_type] if layer_type else parameters)["rope_type"]
    inv_freq, attention_factor = ROPE_INIT_FUNCTIONS[rope_type](
        config, torch.device("cpu"), seq_len=length, layer_type=layer_type
    )
    frequencies = golden_encoding(case).frequencies
    assert_close(frequencies.inv_freq(length).float(), inv_freq, rtol=2e-6, atol=0)
    assert frequencies.attention_factor(length) == pytest.approx(attention_factor, rel=2e-6)


def library_config(config):
    """The library's config object, of the model's own class where the release has one."""
    keys = copy.deepcopy(config)
    model_type = keys.pop("model_type")
    known = model_type in CONFIG_MAPPING
    return AutoConfig.for_model(model_type if known else "llama", **keys).get_text_config()
