"""An extended model: generation, caches, masks, positions, layers that keep what they have."""

from contextlib import contextmanager

import pytest
import torch
from torch.testing import assert_close
from transformers import StaticCache

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, left_padded, logits, tiny, token_ids

SPECS = ("yarn:factor=2.5", "dynamic_ntk", "log_n", "rerope:window=12")


MAPS = ("dual_chunk:chunk_size=12,local_window=4", "self_extend:group_size=4,window=9")


PROMPT, NEW = 24, 16
"""The prompt ends below the trained length of 32, the answer above it."""


SAME = {"rtol": 0, "atol": 1e-9}


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


# Layers that keep what they have.


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


SCALES = ("log_n", "temperature:tau=2")


@pytest.mark.parametrize("spec", [*dict.fromkeys((*SPECS, *SCALES)), "dynamic_ntk:policy=at_birth"])
def test_layers_without_positions_take_the_scale_of_a_row_and_nothing_else(spec):
    """SmolLM3: every fourth layer."""
    layers, described = changed_layers(tiny("smollm3"), spec)
    assert layers == [0, 1, 2, *([3] if spec in SCALES else [])]
    assert described["layers_without_positions"] == 1
    assert described["layers_changed"] == len(layers)
