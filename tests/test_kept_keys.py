"""Turned keys are kept between decoding steps only as long as nothing about them changes.

Expected logits come from one call over the whole sequence, or from a model that kept nothing.
"""

import copy
import gc

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache, StaticCache

import ropewalk as rw
from ropewalk.integrations import kept_keys
from ropewalk.integrations.plan import PLAN
from sharpened import L0, tiny, token_ids

METHOD = "dynamic_ntk:step=16"
PROMPT = L0 + 3
LAYERS = 4
# Full pass and steps sum in different orders, over logits of size 10.
EXACT = {"rtol": 0, "atol": 1e-9}


@pytest.fixture
def model():
    model = tiny()
    with rw.extend(model, METHOD):
        yield model


@pytest.fixture
def starts(monkeypatch):
    """The first key that each layer turned at each step with kept keys."""
    seen, key_turn = [], kept_keys._key_turn
    monkeypatch.setattr(
        kept_keys, "_key_turn", lambda step, start: (seen.append(start), key_turn(step, start))[1]
    )
    return seen


@torch.no_grad()
def run(model, ids, cache, **inputs):
    return model(ids, past_key_values=cache, use_cache=True, **inputs).logits


@torch.no_grad()
def at_once(model, ids):
    return model(ids, use_cache=False).logits


def prefilled(model, ids):
    cache = DynamicCache(config=model.config)
    run(model, ids, cache)
    return cache


def decoded(model, ids, cache, first, last):
    """Logits of tokens ``first .. last - 1``, one call each."""
    return torch.cat([run(model, ids[:, n : n + 1], cache) for n in range(first, last)], dim=1)


def test_a_step_turns_its_own_key_and_a_change_of_length_all(model, starts):
    ids = token_ids(1, 60)
    cache = prefilled(model, ids[:, :PROMPT])
    actual = decoded(model, ids, cache, PROMPT, 60)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    # A row at position n sees L = 48 up to n = 47 and L = 64 from there on.
    expected = [0, *range(PROMPT + 1, 48), 0, *range(49, 60)]
    assert starts == [start for start in expected for _ in range(LAYERS)]


def test_steps_beyond_the_room_move_the_turned_keys(model, monkeypatch):
    monkeypatch.setattr(kept_keys, "LEAST_SPARE", 1)
    monkeypatch.setattr(kept_keys, "SPARE_SHARE", 10**6)
    ids = token_ids(1, PROMPT + 6)
    cache = prefilled(model, ids[:, :PROMPT])
    actual = decoded(model, ids, cache, PROMPT, PROMPT + 6)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)


def test_within_the_trained_length_keys_are_turned_once(model, starts):
    ids = token_ids(1, L0 - 2)
    cache = prefilled(model, ids[:, :10])
    assert_close(decoded(model, ids, cache, 10, L0 - 2), at_once(model, ids)[:, 10:], **EXACT)
    assert starts == [start for start in (0, *range(11, L0 - 2)) for _ in range(LAYERS)]


def test_other_tokens_after_a_crop_meet_no_stale_key(model, starts):
    ids, other = token_ids(1, PROMPT + 4), token_ids(1, PROMPT + 4, seed=1)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 4)
    cache.crop(-3)
    mixed = torch.cat([ids[:, : PROMPT + 1], other[:, : PROMPT + 1][:, -3:]], dim=1)
    actual = decoded(model, mixed, cache, PROMPT + 1, PROMPT + 4)
    assert_close(actual, at_once(model, mixed)[:, PROMPT + 1 :], **EXACT)
    assert starts[-3 * LAYERS :][:LAYERS] == [0] * LAYERS


def test_keys_that_were_written_to_are_turned_anew(model):
    ids = token_ids(1, PROMPT + 3)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 2)
    cache.layers[1].keys.mul_(1.5)
    untouched = copy.deepcopy(cache)
    actual = run(model, ids[:, -1:], cache)
    other = tiny()
    with rw.extend(other, METHOD):
        assert_close(actual, run(other, ids[:, -1:], untouched), **EXACT)


def test_sequences_that_change_places_keep_their_own_keys(model):
    ids = token_ids(2, PROMPT + 4)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 2)
    cache.reorder_cache(torch.tensor([1, 0]))
    swapped = ids.flip(0)
    actual = decoded(model, swapped, cache, PROMPT + 2, PROMPT + 4)
    assert_close(actual, at_once(model, swapped)[:, -2:], **EXACT)


def test_two_texts_in_turn_do_not_mix(model):
    texts = [token_ids(1, PROMPT + 4, seed=seed) for seed in (0, 1)]
    caches = [prefilled(model, ids[:, :PROMPT]) for ids in texts]
    for n in range(PROMPT, PROMPT + 4):
        for ids, cache in zip(texts, caches, strict=True):
            actual = run(model, ids[:, n : n + 1], cache)
            assert_close(actual, at_once(model, ids[:, : n + 1])[:, -1:], **EXACT)


def test_a_mask_that_moves_positions_is_noticed(model):
    """The first two tokens count as padding from the second step on."""
    ids = token_ids(1, PROMPT + 2)
    cache = prefilled(model, ids[:, :PROMPT])
    run(model, ids[:, PROMPT : PROMPT + 1], cache)
    mask = torch.ones_like(ids)
    mask[:, :2] = 0
    unseen = copy.deepcopy(cache)
    actual = run(model, ids[:, -1:], cache, attention_mask=mask)
    other = tiny()
    with rw.extend(other, METHOD):
        expected = run(other, ids[:, -1:], unseen, attention_mask=mask)
    assert_close(actual, expected, **EXACT)


def test_a_cache_that_does_not_append_is_not_trusted(model, starts):
    ids = token_ids(1, PROMPT + 3)
    cache = StaticCache(config=model.config, max_cache_len=PROMPT + 10)
    run(model, ids[:, :PROMPT], cache)
    actual = decoded(model, ids, cache, PROMPT, PROMPT + 3)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    assert starts == []


def test_inference_mode_cannot_tell_writes_and_keeps_nothing(model, starts):
    ids = token_ids(1, PROMPT + 2)
    with torch.inference_mode():
        cache = prefilled(model, ids[:, :PROMPT])
        actual = decoded(model, ids, cache, PROMPT, PROMPT + 2)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    assert starts == []


def test_what_is_kept_goes_with_the_cache(model):
    ids = token_ids(1, PROMPT + 2)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 2)
    kept = [getattr(module, PLAN).kept for module in model.modules() if hasattr(module, PLAN)]
    assert len(kept) == LAYERS
    assert all(each._left is not None for each in kept)
    del cache
    gc.collect()
    assert all(each._left is None for each in kept)


def test_removal_takes_the_hooks_out():
    model = tiny()
    hooks = [dict(module._forward_pre_hooks) for module in model.modules()]
    with rw.extend(model, METHOD):
        run(model, token_ids(1, 4), DynamicCache(config=model.config))
    assert [dict(module._forward_pre_hooks) for module in model.modules()] == hooks
