"""Engine rules against the engines themselves, where they are installed."""

import copy
import json
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch.testing import assert_close
from transformers import CONFIG_MAPPING
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.olmo3.modeling_olmo3 import Olmo3RotaryEmbedding
from transformers.models.phimoe.modeling_phimoe import PhimoeRotaryEmbedding

from places import GOLDENS
from readings import answer_of

CONFIGS = json.loads((GOLDENS / "engines.json").read_text("utf-8"))["configs"]
QWEN = CONFIGS["yarn-qwen25"]
TINY = {
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "max_position_embeddings": 8192,
    "rope_theta": 10000.0,
}
LISTS = {"short_factor": [1.0 + i / 8 for i in range(16)], "long_factor": [4.0] * 16}


def released(engine):
    """Whether the installed release is the one that the rules are written for."""
    answer = answer_of(engine, {**TINY, "model_type": "llama"}, None, None)
    try:
        return version(engine) == answer.version
    except PackageNotFoundError:
        return False


needs_transformers = pytest.mark.skipif(
    not released("transformers"), reason="rules are written for transformers 5.23.0"
)


def library_config(config):
    keys = copy.deepcopy({k: v for k, v in config.items() if k != "architectures"})
    return CONFIG_MAPPING[keys.pop("model_type")](**keys)


def llama(**rope):
    return {**TINY, "model_type": "llama", "rope_scaling": rope}


def assert_same(answer, inv_freq, attention_factor):
    theta = torch.tensor(answer.inv_freq, dtype=torch.float64)
    assert_close(theta, inv_freq.double(), rtol=2e-6, atol=0)
    assert answer.attention_factor == pytest.approx(attention_factor, rel=2e-6)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
FLAT = {
    "linear": llama(rope_type="linear", factor=4),
    "dynamic": llama(rope_type="dynamic", factor=3.0),
    "llama3": CONFIGS["llama3-llama31"],
    "yarn": llama(**YARN),
    "yarn-attention-factor": llama(**YARN, attention_factor=0.7),
    "yarn-mscales": llama(**YARN, mscale=0.7, mscale_all_dim=0.3),
    "yarn-mscale-zero": llama(**YARN, mscale=0.7, mscale_all_dim=0),
    "yarn-betas-zero": llama(**YARN, beta_fast=0, beta_slow=0),
    "yarn-crossed": llama(**YARN, beta_fast=1.0, beta_slow=64.0),
    "yarn-gpt-oss": CONFIGS["yarn-gpt-oss"],
    "yarn-original-beside": {**llama(**YARN), "original_max_position_embeddings": 1024},
    "yarn-without-original": llama(rope_type="yarn", factor=4.0),
    "longrope": llama(rope_type="longrope", original_max_position_embeddings=2048, **LISTS),
    "longrope-factor": llama(
        rope_type="longrope", original_max_position_embeddings=2048, factor=2.0, **LISTS
    ),
    "longrope-phi3": CONFIGS["longrope-phi3"],
    "proportional": llama(rope_type="proportional", partial_rotary_factor=0.5, factor=2.0),
    "deepseek": CONFIGS["mla-deepseek-v3"],
}


@needs_transformers
@pytest.mark.parametrize("length", [64, 2048, 2049, 8192, 30000])
@pytest.mark.parametrize("name", FLAT)
def test_transformers_functions_compute_the_same(name, length):
    config = library_config(FLAT[name])
    rope_type = config.rope_parameters["rope_type"]
    inv_freq, factor = ROPE_INIT_FUNCTIONS[rope_type](config, torch.device("cpu"), seq_len=length)
    assert_same(answer_of("transformers", FLAT[name], length, None), inv_freq, factor)


@needs_transformers
@pytest.mark.parametrize("layer_type", ["full_attention", "sliding_attention"])
def test_transformers_ignores_a_nested_truncate(layer_type):
    inner = {**YARN, "rope_theta": 1e4, "truncate": False}
    config = {
        **{k: v for k, v in TINY.items() if k != "rope_theta"},
        "model_type": "olmo3",
        "rope_parameters": {"full_attention": inner, "sliding_attention": dict(inner)},
    }
    inv_freq, factor = ROPE_INIT_FUNCTIONS["yarn"](library_config(config), layer_type=layer_type)
    assert_same(answer_of("transformers", config, None, layer_type), inv_freq, factor)


@needs_transformers
@pytest.mark.parametrize("layer_type", ["full_attention", "sliding_attention"])
def test_transformers_loses_the_base_of_olmo3s_sliding_layers(layer_type):
    config = {**TINY, "model_type": "olmo3", "rope_theta": 2e5, "rope_scaling": dict(YARN)}
    module = Olmo3RotaryEmbedding(library_config(config))
    answer = answer_of("transformers", config, None, layer_type)
    factor = getattr(module, f"{layer_type}_attention_scaling")
    assert_same(answer, getattr(module, f"{layer_type}_inv_freq"), factor)


@needs_transformers
@pytest.mark.parametrize("length", [2048, 2049])
def test_transformers_never_uses_phimoes_long_list(length):
    rope = {"short_mscale": 1.25, "long_mscale": 1.5, "original_max_position_embeddings": 2048}
    config = {
        **TINY,
        "model_type": "phimoe",
        "rope_scaling": {"rope_type": "longrope", **LISTS, **rope},
    }
    module = PhimoeRotaryEmbedding(library_config(config))
    cos, sin = module(torch.zeros(1), torch.arange(length)[None])
    radius = (cos[0, -1] ** 2 + sin[0, -1] ** 2).sqrt()
    answer = answer_of("transformers", config, length, None)
    assert answer.attention_factor == pytest.approx(radius[0].item(), rel=1e-5)
    # Position 1 lies below every half turn, so that its angle is the frequency.
    angles = torch.atan2(sin[0, 1], cos[0, 1])[:16]
    assert_close(torch.tensor(answer.inv_freq), angles, rtol=1e-4, atol=1e-6)


@needs_transformers
@pytest.mark.parametrize(
    ("config", "error"),
    [
        (CONFIGS["longrope-su-spelling"], KeyError),
        (llama(rope_type="linear"), KeyError),
        (llama(rope_type="llama3", factor=8.0, low_freq_factor=1.0), KeyError),
        (
            {**CONFIGS["longrope-phi3"], "rope_parameters": {"rope_type": "linear", "factor": 2.0}},
            StrictDataclassClassValidationError,
        ),
    ],
    ids=["su", "linear", "llama3", "phi3-linear"],
)
def test_transformers_refuses_the_same_configs(config, error):
    with pytest.raises(error) as raised:
        library_config(config)
    answer = answer_of("transformers", config, None, None)
    assert answer.error == " ".join(f"{error.__name__}: {raised.value}".split())
    assert answer.inv_freq is None


@needs_transformers
@pytest.mark.parametrize("model_type", ["qwen2", "llama"])
def test_transformers_takes_a_null_head_dim_where_the_class_fills_it_in(model_type):
    config = {**TINY, "model_type": model_type, "head_dim": None, "rope_scaling": dict(YARN)}
    answer = answer_of("transformers", config, None, None)
    if answer.error is None:
        inv_freq, factor = ROPE_INIT_FUNCTIONS["yarn"](library_config(config))
        assert_same(answer, inv_freq, factor)
        return
    with pytest.raises(TypeError) as raised:
        ROPE_INIT_FUNCTIONS["yarn"](library_config(config))
    assert answer.error == f"TypeError: {raised.value}"


def rotary(engine, config):
    """The rotary module that a serving engine builds for a flat config."""
    rope = {**config["rope_scaling"], "rope_theta": config["rope_theta"]}
    dim, longest = 32, config["max_position_embeddings"]
    if engine == "vllm":
        from vllm.model_executor.layers.rotary_embedding import get_rope

        return get_rope(dim, max_position=longest, rope_parameters=rope, dtype=torch.float32)
    from sglang.srt.layers.rotary_embedding import get_rope

    return get_rope(dim, dim, longest, rope["rope_theta"], rope_scaling=rope, dtype=torch.float32)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("name", ["dynamic", "yarn", "yarn-mscales", "yarn-crossed"])
def test_tables_of_serving_engines_hold_the_same(engine, name):
    if not released(engine):
        pytest.skip(f"{engine}: the release that the rules are written for is not installed")
    answer = answer_of(engine, FLAT[name], None, None)
    cos, sin = rotary(engine, FLAT[name]).cos_sin_cache.double().chunk(2, dim=-1)
    assert cos.shape[0] == answer.table_rows
    assert (cos[0].square() + sin[0].square()).sqrt().tolist() == pytest.approx(
        [answer.attention_factor] * cos.shape[1], rel=1e-5
    )
    theta = torch.tensor(answer.inv_freq, dtype=torch.float64)
    assert_close(torch.atan2(sin[1], cos[1]), theta, rtol=1e-4, atol=1e-6)
