"""Installing: models side by side, removal, and the proof."""

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM

import ropewalk as rw
from recipes.families.sharpened import L0, logits, sharpen, tiny, token_ids

SPECS = ("yarn:factor=2.5", "dynamic_ntk", "log_n", "rerope:window=12")


# Models side by side.


def test_two_models_carry_two_methods():
    ids = token_ids(1, 50)
    first, second = tiny(num_hidden_layers=2), tiny(num_hidden_layers=2)
    with rw.extend(first, "dynamic_ntk"):
        one = logits(first, ids)
    with rw.extend(second, "yarn:factor=2.5"):
        other = logits(second, ids)
    with rw.extend(first, "dynamic_ntk"), rw.extend(second, "yarn:factor=2.5"):
        assert torch.equal(logits(first, ids), one)
        assert torch.equal(logits(second, ids), other)


@pytest.mark.parametrize("spec", SPECS)
def test_a_model_that_shares_the_config_object_is_left_alone(spec):
    ids = token_ids(1, 50)
    first = tiny(num_hidden_layers=2)
    second = sharpen(AutoModelForCausalLM.from_config(first.config).eval()).double()
    second.config = second.model.config = first.config
    for layer in second.model.layers:
        layer.self_attn.config = first.config
    stock = logits(second, ids)
    settings = first.config.to_dict(), first.config._attn_implementation
    extension = rw.extend(first, spec)
    assert (second.config.to_dict(), second.config._attn_implementation) == settings
    assert torch.equal(logits(second, ids), stock)
    extension.remove()
    assert torch.equal(logits(second, ids), stock)
    assert first.config is second.config


def snapshot(model):
    """Everything that hangs on a model's modules, by identity."""
    parts = {}
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            for key, each in inner:
                parts[name, attribute, key] = each if isinstance(each, bool) else id(each)
            parts[name, attribute] = list(value) if isinstance(value, dict) else None
    return parts


REMOVALS = [
    *((name, spec) for name in ("llama", "qwen2 sliding", "smollm3") for spec in SPECS),
    ("llama", "native"),
    ("llama", "dynamic_ntk:policy=at_birth"),
]


# Removal.


@pytest.mark.parametrize(("name", "spec"), REMOVALS)
def test_removal_restores_the_model_bit_for_bit(name, spec):
    model, ids = tiny(name), token_ids(1, 50)
    implementation, stock = model.config._attn_implementation, logits(model, ids)
    settings, before = model.config.to_dict(), snapshot(model)
    extension = rw.extend(model, spec)
    logits(model, ids)
    extension.remove()
    assert snapshot(model) == before
    assert model.config.to_dict() == settings
    assert model.config._attn_implementation == implementation
    assert torch.equal(logits(model, ids), stock)
    extension.remove()
    assert snapshot(model) == before


def test_an_exception_restores_the_model_too(llama):
    before = snapshot(llama)
    with pytest.raises(ZeroDivisionError), rw.extend(llama, "dynamic_ntk"):
        raise ZeroDivisionError
    assert snapshot(llama) == before


def test_a_refused_model_is_as_it_was(sliding):
    before = snapshot(sliding)
    with pytest.raises(rw.RopewalkError, match="at_birth"):
        rw.extend(sliding, "dynamic_ntk:policy=at_birth")
    assert snapshot(sliding) == before


def test_training_flags_are_left_as_they_are():
    model = tiny(num_hidden_layers=2).train()
    model.model.layers[0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    with rw.extend(model, "yarn", factor=2):
        during = {name: module.training for name, module in model.named_modules()}
        assert {name: during[name] for name in before} == before
    assert {name: module.training for name, module in model.named_modules()} == before


def test_extending_twice_is_refused(llama):
    with rw.extend(llama, "yarn", factor=2):
        with pytest.raises(rw.RopewalkError, match="extended already"):
            rw.extend(llama, "linear", factor=2)
        expected = logits(llama, token_ids(1, 50))
    with rw.extend(llama, "yarn", factor=2):
        assert torch.equal(logits(llama, token_ids(1, 50)), expected)


def test_an_extended_model_is_not_saved(tmp_path):
    model = tiny(num_hidden_layers=1, dtype=torch.float32)
    with rw.extend(model, "dynamic_ntk"):
        with pytest.raises(rw.RopewalkError, match="not saved"):
            model.save_pretrained(tmp_path)
        assert not list(tmp_path.iterdir())
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config._attn_implementation == model.config._attn_implementation
    assert torch.equal(logits(again, token_ids(1, 40)), logits(model, token_ids(1, 40)))


# The proof.


def test_a_config_that_lies_about_its_base_is_refused():
    model = tiny(num_hidden_layers=2)
    model.config.rope_parameters["rope_theta"] = 20_000.0
    before = snapshot(model)
    with pytest.raises(rw.RopewalkError, match="llama is not supported") as error:
        rw.extend(model, "yarn", factor=2)
    assert "\n" not in str(error.value)
    assert snapshot(model) == before


def test_a_model_without_rotation_is_refused_by_name():
    config = AutoConfig.for_model(
        "gpt2", n_embd=32, n_layer=1, n_head=2, n_positions=32, vocab_size=97,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(rw.RopewalkError):
        rw.extend(model, "yarn", factor=2)


@pytest.mark.parametrize("spec", ["native", "yarn:factor=2.5", "dynamic_ntk"])
def test_a_layout_that_nothing_explains_is_refused_by_name(spec):
    """Hunyuan's norm after the rotation cannot be undone where a channel's weight is zero."""
    model = tiny("hunyuan_v1_dense", num_hidden_layers=2)
    with torch.no_grad():
        model.model.layers[0].self_attn.query_layernorm.weight[3] = 0.0
    before = snapshot(model)
    with pytest.raises(rw.RopewalkError, match="hunyuan_v1_dense is not supported"):
        rw.extend(model, spec)
    assert snapshot(model) == before


LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": L0}


LISTS = {
    "short_factor": [1.0 + i / 16 for i in range(8)],
    "long_factor": [1.0 + i / 2 for i in range(8)],
}


ROPE = {
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": L0},
    "llama3": {"factor": 4.0, **LLAMA3},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": L0, **LISTS},
}


@pytest.mark.parametrize("rope_type", ROPE)
@pytest.mark.parametrize("length", [30, 100])
def test_native_is_the_library_s_own_scaling(rope_type, length):
    rope = {"rope_type": rope_type, "rope_theta": 10_000.0, **ROPE[rope_type]}
    longest = L0 if rope_type in ("linear", "dynamic") else 4 * L0
    model = tiny(num_hidden_layers=2, rope_parameters=rope, max_position_embeddings=longest)
    ids = token_ids(1, length)
    stock = logits(model, ids)
    # A list for long contexts is in no buffer to be copied: the library reaches it by three
    # float32 operations, we by one rounding. Up to 3 * 2^-24 of an angle of 100 radians.
    room = 3e-5 if (rope_type, length) == ("longrope", 100) else 2e-6
    with rw.extend(model, "native"):
        assert_close(logits(model, ids), stock, rtol=0, atol=room)
    with rw.extend(model, "none"):
        differs = bool((logits(model, ids) - stock).abs().max() > 1e-3)
    assert differs == ((rope_type, length) != ("dynamic", 30))


def test_native_scales_queries_once():
    """Ministral 3 multiplies its queries by 1 + beta log(1 + floor(m / L0)) in its own code."""
    rope = {"rope_type": "yarn", "rope_theta": 1e4, "llama_4_scaling_beta": 0.3, **ROPE["yarn"]}
    rope = {**rope, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0}
    model = tiny(
        "ministral3", num_hidden_layers=2, sliding_window=None, rope_parameters=rope,
        max_position_embeddings=4 * L0,
    )  # fmt: skip
    ids = token_ids(1, 100)
    stock = logits(model, ids)
    for spec, room in (("native", 2e-6), ("native+temperature:tau=1", 3e-4)):
        with rw.extend(model, spec):
            assert_close(logits(model, ids), stock, rtol=0, atol=room)
