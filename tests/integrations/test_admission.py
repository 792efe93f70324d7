"""policy=at_admission: L is fixed for each sequence when its first call comes in.

The oracle is policy=fixed with the length written out by hand, sequence by sequence.
"""

import copy

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, left_padded, tiny, token_ids
from ropewalk.integrations.session import extend_with
from ropewalk.methods.spec import parse_spec

NEW = 2 * L0
ADMITTED = f"dynamic_ntk:policy=at_admission,new_tokens={NEW}"
EXACT = {"rtol": 0, "atol": 1e-9}


def fixed(prompt):
    return f"dynamic_ntk:policy=fixed,length={prompt + NEW}"


@torch.no_grad()
def run(model, ids, cache=None, **inputs):
    return model(ids, past_key_values=cache, use_cache=True, **inputs)


def continued(model, ids, prompt):
    """Logits of a prompt in one call and of the rest token by token."""
    out = run(model, ids[:, :prompt])
    found, cache = [out.logits], out.past_key_values
    for token in range(prompt, ids.shape[1]):
        found.append(run(model, ids[:, token : token + 1], cache).logits)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("prompt", [L0 // 2, L0 + 3])
def test_decoding_keeps_the_length_at_which_the_prompt_came_in(prompt):
    model, ids = tiny(), token_ids(1, prompt + 6)
    with rw.extend(model, fixed(prompt)):
        right = run(model, ids).logits
    with rw.extend(model, ADMITTED):
        assert_close(continued(model, ids, prompt), right, **EXACT)
    with rw.extend(model, fixed(prompt + 1)):
        assert (run(model, ids).logits - right).abs().max() > 1e-4


def test_generate_admits_each_sequence_of_a_batch_at_its_own_length():
    model, long = tiny(), token_ids(1, L0 + 9)
    short = long[:, 4:]
    batch, mask = left_padded(short, long.shape[1], long)
    wanted = []
    for ids in (short, long):
        with rw.extend(model, fixed(ids.shape[1])):
            wanted.append(model.generate(ids, max_new_tokens=5, do_sample=False)[0, -5:])
    with rw.extend(model, ADMITTED):
        found = model.generate(batch, attention_mask=mask, max_new_tokens=5, do_sample=False)
    assert_close(found[:, -5:], torch.stack(wanted))


def test_a_copied_and_a_cropped_cache_keep_their_admission():
    model, ids = tiny(), token_ids(1, L0 + 12)
    prompt = L0 + 4
    with rw.extend(model, fixed(prompt)):
        right = run(model, ids).logits
    with rw.extend(model, ADMITTED):
        cache = run(model, ids[:, :prompt]).past_key_values
        fork = copy.deepcopy(cache)
        assert_close(run(model, ids[:, prompt:], fork).logits, right[:, prompt:], **EXACT)
        cache.crop(L0 - prompt)
        assert_close(run(model, ids[:, L0:], cache).logits, right[:, L0:], **EXACT)
        # An empty cache begins another request.
        again = run(model, ids[:, :prompt], DynamicCache()).logits
        assert_close(again, right[:, :prompt], **EXACT)


def test_sequences_that_change_places_keep_their_admission():
    """Left padding beside a longer sequence: each has an L of its own, wherever it goes."""
    model, long = tiny(), token_ids(1, L0 + 12)
    short, mask = long[:, 4:], torch.ones(2, L0 + 12, dtype=torch.long)
    mask[0, :4] = 0
    rows = torch.cat([torch.cat([long[:, :4] * 0, short], dim=1), long])
    prompt, order = L0 + 6, [1, 0, 1]
    with rw.extend(model, ADMITTED):
        right = torch.cat(
            [continued(model, ids, ids.shape[1] - 6)[:, -6:] for ids in (short, long)]
        )
        cache = run(model, rows[:, :prompt], attention_mask=mask[:, :prompt]).past_key_values
        cache.batch_select_indices(torch.tensor(order))
        found = run(model, rows[order, prompt:], cache, attention_mask=mask[order]).logits
    assert_close(found, right[order], **EXACT)


def test_packed_and_unknown_sequences_are_refused():
    model, ids = tiny(), token_ids(1, 16)
    places = torch.tensor([[*range(8), *range(8)]])
    with rw.extend(model, ADMITTED), pytest.raises(rw.RopewalkError, match="packed sequences"):
        model(ids, position_ids=places, use_cache=False)
    batch, mask = left_padded(ids[:, 4:], 16, ids)
    with rw.extend(model, ADMITTED):
        cache = run(model, batch, attention_mask=mask).past_key_values
        for layer in cache.layers:
            layer.keys = layer.keys * 1.5
        longer = torch.cat([mask, mask[:, -1:]], dim=1)
        with pytest.raises(rw.RopewalkError, match="knows not at which length each was admitted"):
            run(model, ids[:, :1].repeat(2, 1), cache, attention_mask=longer)


def test_a_request_whose_length_is_known_is_path_independent():
    """verify and compare tell the length: chunks and tokens agree with the full pass."""
    model, ids = tiny(), token_ids(1, 2 * L0)
    spec = parse_spec(ADMITTED)
    with extend_with(model, spec, context_length=2 * L0) as extension:
        assert all(each.path_independent for each in extension.wanted.values())
        assert_close(in_calls(model, ids, [7] * 9 + [1]), run(model, ids).logits, **EXACT)
