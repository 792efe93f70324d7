"""The hook in use: generation, caches, masks, removal, refusals, gradients."""

import copy
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM, StaticCache

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, left_padded, logits, sharpen, tiny, token_ids
from ropewalk.attention.call import Call
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.softmax import Softmax
from ropewalk.core.frequencies import Side
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import AtBirth
from ropewalk.core.rows import CausalRows
from ropewalk.integrations.heads import Direction, HeadLayout
from ropewalk.integrations.plan import plan_of

SPECS = ("yarn:factor=2.5", "dynamic_ntk", "log_n", "rerope:window=12")
MAPS = ("dual_chunk:chunk_size=12,local_window=4", "self_extend:group_size=4,window=9")
PROMPT, NEW = 24, 16
"""The prompt ends below the trained length of 32, the answer above it."""
SAME = {"rtol": 0, "atol": 1e-9}
LINEAR_IN_FLOAT64 = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(scope="module")
def llama():
    return tiny(num_hidden_layers=2)


@pytest.fixture(scope="module")
def sliding():
    """Layer 0 full, the others with a window of 24."""
    return tiny("qwen2 sliding")


def generate(model, ids, **settings):
    settings = {"max_new_tokens": NEW, "do_sample": False, **settings}
    return model.generate(ids, **settings)


def greedy(model, ids):
    """What a full pass over everything so far thinks is next, again and again."""
    for _ in range(NEW):
        ids = torch.cat([ids, logits(model, ids)[:, -1:].argmax(-1)], dim=1)
    return ids


# Generation and caches.


@pytest.mark.parametrize("spec", [*SPECS, *MAPS])
def test_generate_is_the_argmax_of_full_passes(llama, spec):
    ids = token_ids(2, PROMPT)
    with rw.extend(llama, spec):
        assert torch.equal(generate(llama, ids), greedy(llama, ids))


@pytest.mark.parametrize("spec", SPECS)
def test_generate_with_left_padding_is_each_sequence_alone(llama, spec):
    ids, mate = token_ids(1, 11), token_ids(1, PROMPT, seed=1)
    both, mask = left_padded(ids, PROMPT, mate)
    with rw.extend(llama, spec):
        out = generate(llama, both, attention_mask=mask)
        assert torch.equal(out[:1, PROMPT - 11 :], greedy(llama, ids))
        assert torch.equal(out[1:], greedy(llama, mate))


@pytest.mark.parametrize("spec", [*SPECS, *MAPS])
def test_generate_with_a_static_cache_and_left_padding(llama, spec):
    ids, mate = token_ids(1, 11), token_ids(1, PROMPT, seed=1)
    both, mask = left_padded(ids, PROMPT, mate)
    with rw.extend(llama, spec):
        out = generate(llama, both, attention_mask=mask, cache_implementation="static")
        assert torch.equal(out[:1, PROMPT - 11 :], greedy(llama, ids))
        assert torch.equal(out[1:], greedy(llama, mate))


@pytest.mark.parametrize("spec", SPECS)
def test_generate_with_sliding_layers(sliding, spec):
    ids = token_ids(1, PROMPT)
    with rw.extend(sliding, spec):
        expected = greedy(sliding, ids)
        assert torch.equal(generate(sliding, ids), expected)
        assert torch.equal(generate(sliding, ids, cache_implementation="static"), expected)


@pytest.mark.parametrize("spec", SPECS)
def test_beams_are_the_same_with_and_without_a_cache(llama, spec):
    ids = token_ids(1, PROMPT)
    with rw.extend(llama, spec):
        cached, plain = (
            generate(llama, ids, num_beams=3, use_cache=use_cache) for use_cache in (True, False)
        )
        assert torch.equal(cached, plain)


@pytest.mark.parametrize("spec", SPECS)
def test_a_static_cache_is_a_dynamic_cache(llama, spec):
    """It shows all its 64 slots, filled or not."""
    ids, sizes = token_ids(2, 50), (7, 20, 1, 22)
    with rw.extend(llama, spec):
        cache = StaticCache(config=llama.config, max_cache_len=64)
        outputs, start = [], 0
        for size in sizes:
            with torch.no_grad():
                out = llama(ids[:, start : start + size], past_key_values=cache, use_cache=True)
            outputs.append(out.logits)
            start += size
        assert_close(torch.cat(outputs, dim=1), in_calls(llama, ids, sizes), **SAME)


# Masks and positions.


@pytest.mark.parametrize(
    "spec", [*SPECS, "dynamic_ntk:policy=whole_sequence", "dynamic_ntk:policy=at_birth"]
)
def test_right_padding_is_as_if_it_were_not_there(llama, spec):
    ids = token_ids(2, 50)
    mask = torch.ones_like(ids)
    mask[0, 37:] = 0
    with rw.extend(llama, spec):
        padded = logits(llama, ids, attention_mask=mask)
        assert_close(padded[:1, :37], logits(llama, ids[:1, :37]), **SAME)
        assert_close(padded[1:], logits(llama, ids[1:]), **SAME)


@pytest.mark.parametrize("spec", ["yarn:factor=2.5", "log_n", "rerope:window=12"])
def test_a_ready_made_mask_is_refused_where_it_would_be_read(llama, spec):
    ids = token_ids(1, 8)
    ready = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
    with rw.extend(llama, spec) as extension:
        if extension.describe()["seam"].startswith("the rotary module alone"):
            assert_close(logits(llama, ids, attention_mask=ready), logits(llama, ids), **SAME)
            return
        with pytest.raises(rw.RopewalkError, match="ready-made 4-D attention mask") as error:
            logits(llama, ids, attention_mask=ready)
        assert "\n" not in str(error.value)


PACKED = (13, 37)


@pytest.mark.parametrize("spec", SPECS)
def test_packed_sequences_are_each_alone(llama, spec):
    ids = token_ids(1, sum(PACKED))
    positions = torch.cat([torch.arange(n) for n in PACKED])[None]
    with rw.extend(llama, spec):
        packed = logits(llama, ids, position_ids=positions, use_cache=False)
        first, second = ids.split(PACKED, dim=1)
        assert_close(packed[:, :13], logits(llama, first), **SAME)
        assert_close(packed[:, 13:], logits(llama, second), **SAME)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("inputs", [{}, {"use_cache": True}, {"attention_mask": None}, "ones"])
def test_packed_sequences_that_the_library_does_not_mask_are_refused(llama, spec, inputs):
    """It does so only where it is given neither a mask nor a cache."""
    ids = token_ids(1, sum(PACKED))
    positions = torch.cat([torch.arange(n) for n in PACKED])[None]
    if inputs == "ones":
        inputs = {"attention_mask": torch.ones_like(ids), "use_cache": False}
    with rw.extend(llama, spec), pytest.raises(rw.RopewalkError, match="use_cache=False"):
        logits(llama, ids, position_ids=positions, **inputs)


@pytest.mark.parametrize("policy", ["whole_sequence", "at_birth"])
def test_packed_sequences_have_no_length_of_their_own(llama, policy):
    ids = token_ids(1, sum(PACKED))
    positions = torch.cat([torch.arange(n) for n in PACKED])[None]
    with (
        rw.extend(llama, f"dynamic_ntk:policy={policy}"),
        pytest.raises(rw.RopewalkError, match="policy=per_query"),
    ):
        logits(llama, ids, position_ids=positions, use_cache=False)


def base_at(length):
    """Dynamic NTK with alpha 2 and heads of 16."""
    return 10_000.0 * (2 * max(length, L0) / L0 - 1) ** (16 / 14)


def test_positions_may_start_anywhere():
    """Row m sees the base of m + 1, wherever its sequence starts; distances are as they are."""
    model, ids = tiny(num_hidden_layers=1), token_ids(2, 20)
    offsets = torch.tensor([[0], [25]])
    with rw.extend(model, "dynamic_ntk"):
        moved = logits(model, ids, position_ids=torch.arange(20) + offsets)
    for b, offset in enumerate(offsets[:, 0].tolist()):
        for row in (0, 6, 7, 19):
            with rw.extend(model, f"abf:rope_theta={base_at(offset + row + 1)!r}"):
                expected = logits(model, ids[b : b + 1])[:, row]
            assert_close(moved[b : b + 1, row], expected, **SAME)


@pytest.mark.parametrize("spec", SPECS)
def test_positions_that_start_anywhere_go_on_through_a_cache(llama, spec):
    ids = token_ids(2, 20)
    positions = torch.arange(20) + torch.tensor([[3], [25]])
    with rw.extend(llama, spec):
        full = logits(llama, ids, position_ids=positions)
        cache, outputs = None, []
        for start, stop in ((0, 9), (9, 10), (10, 20)):
            with torch.no_grad():
                out = llama(
                    ids[:, start:stop], past_key_values=cache, use_cache=True,
                    position_ids=positions[:, start:stop],
                )  # fmt: skip
            cache = out.past_key_values
            outputs.append(out.logits)
        assert_close(torch.cat(outputs, dim=1), full, **SAME)


def test_start_tokens_follow_the_padding_under_the_library_s_own_attention(llama):
    """LongRoPE's first tokens are not shift invariant: positions must be the sequence's own."""
    lists = {"short_factor": [1.0] * 8, "long_factor": [1.0 + i for i in range(8)]}
    ids, mate = token_ids(1, 40), token_ids(1, 60, seed=1)
    both, mask = left_padded(ids, 60, mate)
    parameters = {**lists, "factor": 2, "start_tokens": 4, "policy": "fixed", "length": 64}
    with rw.extend(llama, "longrope", **parameters) as extension:
        assert extension.describe()["seam"].startswith("the rotary module alone")
        alone = logits(llama, ids)
        padded = logits(llama, both, attention_mask=mask)
        assert_close(padded[:1, 20:], alone, **SAME)
        unmasked = logits(llama, both[:1], position_ids=torch.arange(60)[None])
        assert (unmasked[:, 20:] - alone).abs().max() > 1e-3
        hidden = llama.model(both, mask).last_hidden_state  # the mask as a positional argument
        assert_close(llama.lm_head(hidden)[:1, 20:], alone, **SAME)


# Layers that keep what they have.


@contextmanager
def watched(model, inputs=None):
    """(input, output) of each attention module; ``inputs`` are fed in place of its own."""
    seen, handles = {}, []

    def before(module, args, kwargs):
        if inputs is not None:
            kwargs = {**kwargs, "hidden_states": inputs[module.layer_idx][0]}
        seen[module.layer_idx] = [kwargs["hidden_states"]]
        return args, kwargs

    for layer in model.model.layers:
        attention = layer.self_attn
        handles.append(attention.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(
            attention.register_forward_hook(
                lambda module, args, out: seen[module.layer_idx].append(out[0])
            )
        )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def changed_layers(model, spec):
    """Indices of layers whose attention answers otherwise, given the same hidden states."""
    ids = token_ids(1, 60)
    with watched(model) as stock:
        logits(model, ids, use_cache=False)
    with rw.extend(model, spec) as extension, watched(model, stock) as ours:
        logits(model, ids, use_cache=False)
        described = extension.describe()
    differences = {i: (ours[i][1] - stock[i][1]).abs().max().item() for i in stock}
    # The library's angles are float32: 60 * 2^-24, times logits of some tens.
    assert all(d < 1e-4 or d > 1e-2 for d in differences.values())
    return [i for i, d in differences.items() if d > 1e-2], described


@pytest.mark.parametrize("spec", SPECS)
def test_a_window_within_the_trained_length_keeps_its_encoding(sliding, spec):
    layers, described = changed_layers(sliding, spec)
    assert layers == [0]
    assert described["layers"] == 4
    assert described["layers_changed"] == 1


@pytest.mark.parametrize("spec", SPECS)
def test_a_window_beyond_the_trained_length_is_extended(spec):
    layers, described = changed_layers(tiny("mistral sliding"), spec)
    assert layers == [0, 1, 2, 3]
    assert described["layers_changed"] == 4


@pytest.mark.parametrize("spec", [*SPECS, "temperature:tau=2", "dynamic_ntk:policy=at_birth"])
def test_layers_without_positions_are_left_alone(spec):
    """SmolLM3: every fourth layer."""
    layers, described = changed_layers(tiny("smollm3"), spec)
    assert layers == [0, 1, 2]
    assert described["layers_without_positions"] == 1
    assert described["layers_changed"] == 3


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


# Removal.


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


# Precision.


@pytest.mark.parametrize("spec", SPECS)
def test_a_later_change_of_dtype_does_not_reach_the_angles(spec):
    ids = token_ids(1, 60)
    first, second = (tiny(num_hidden_layers=2, dtype=torch.float32) for _ in range(2))
    with rw.extend(first, spec):
        first.to(torch.bfloat16)
        early = logits(first, ids)
    second.to(torch.bfloat16)
    with rw.extend(second, spec):
        assert torch.equal(logits(second, ids), early)


@pytest.mark.parametrize("spec", SPECS)
def test_bf16_is_as_near_to_float64_as_the_library_is(spec):
    """On the same rounded weights, with room for another order of sums."""
    ids = token_ids(1, 60)
    exact = tiny(num_hidden_layers=2)
    for parameter in exact.parameters():
        parameter.data = parameter.data.bfloat16().double()
    model = copy.deepcopy(exact)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    stock_error = (logits(model, ids).double() - logits(exact, ids)).abs().mean()
    with rw.extend(model, spec), rw.extend(exact, spec):
        error = (logits(model, ids).double() - logits(exact, ids)).abs().mean()
    assert error < 1.5 * stock_error


# Fingerprints.


def fingerprint(model, spec):
    with rw.extend(model, spec) as extension:
        return extension.describe()["fingerprint"]


def test_fingerprints_tell_methods_apart_and_nothing_else(llama):
    specs = (
        "none", "linear:factor=2", "linear:factor=4", "yarn:factor=2", "yarn:factor=4",
        "dynamic_ntk", "dynamic_ntk:factor=4", "abf:rope_theta=20000",
        "dynamic_ntk:policy=whole_sequence", "dynamic_ntk:policy=at_birth", "dynamic_ntk:step=8",
        "log_n", "temperature:tau=2", "yarn:factor=2+log_n",
    )  # fmt: skip
    prints = {spec: fingerprint(llama, spec) for spec in specs}
    assert len(set(prints.values())) == len(specs)
    assert fingerprint(tiny(num_hidden_layers=2), "yarn:factor=2") == prints["yarn:factor=2"]
    assert fingerprint(llama, "yarn:factor=2.0,beta_fast=32") == prints["yarn:factor=2"]


# Gradients.


def with_norms_in_float64(model):
    """The library's norms compute in float32, whose rounding would drown a difference."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if "RMSNorm" in type(norm).__name__:
                exact = nn.RMSNorm(len(norm.weight), eps=norm.variance_epsilon)
                exact.weight = norm.weight
                setattr(parent, name, exact)
    return model


@pytest.mark.parametrize(
    "spec",
    [
        "yarn:factor=2.5",
        "dynamic_ntk",
        "dynamic_ntk:policy=at_birth",
        "rerope:window=12",
        "dual_chunk:chunk_size=12,local_window=4",
        "self_extend:group_size=4,window=9+dynamic_ntk:step=8",
    ],
)
def test_gradients_are_finite_differences(spec):
    model = with_norms_in_float64(tiny(num_hidden_layers=2)).train()
    ids = token_ids(2, 44)
    weight = model.model.layers[0].self_attn.k_proj.weight

    def loss():
        predicted = model(ids[:, :-1], use_cache=False).logits
        return functional.cross_entropy(predicted.flatten(0, 1), ids[:, 1:].flatten())

    with rw.extend(model, spec):
        assert model.training
        loss().backward()
        step = 1e-5
        for row, column in ((0, 0), (9, 5), (20, 40), (31, 63)):
            with torch.no_grad():
                weight[row, column] += step
                above = loss()
                weight[row, column] -= 2 * step
                below = loss()
                weight[row, column] += step
            # Central differences: an error of step^2, and rounding of 1e-16 / step.
            numeric = (above - below) / (2 * step)
            assert_close(weight.grad[row, column], numeric, rtol=1e-6, atol=1e-9)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# Keys that settle at birth.


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("name", ["dynamic_ntk", "dynamic_yarn"])
def test_a_query_is_turned_on_from_the_length_of_its_call_to_its_own(name, direction):
    """The plan gets q and k turned by the rotary module under the call's L."""
    geometry = RopeGeometry(head_dim=8, rope_theta=50.0, trained_length=6)
    built = rw.encoding(name, geometry, policy="at_birth")
    assert built.length_policy == AtBirth(trained_length=6)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, heads, 10, 8, generator=generator, dtype=torch.float64)
        for heads in (4, 2, 2)
    )
    rows = CausalRows.of(2, 10, 10, torch.device("cpu"))
    now, born = rows.query_positions, torch.full((2, 10), 10)
    heads = HeadLayout(direction=direction)
    turning = heads.directed(built)
    q_born, k_born = (
        turning.turn(side, now[:, None], 10).of(x) for x, side in ((q, Side.QUERY), (k, Side.KEY))
    )
    actual = plan_of(built, heads, 0).attend(q_born, k_born, v, Call(rows), Softmax())
    oracle = attend_reference(q, k, v, turning, key_lengths=born)
    assert_close(actual, oracle, **LINEAR_IN_FLOAT64)
