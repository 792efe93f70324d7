"""Rotated keys are kept between decoding steps only as long as nothing about them changes.

Expected logits come from one call over the whole sequence, or from a model that kept nothing.
"""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache, StaticCache
from transformers.cache_utils import DynamicLayer

import ropewalk as rw
from decoding_steps import (
    EXACT,
    LAYERS,
    METHOD,
    PROMPT,
    at_once,
    by_layer,
    decoded,
    prefilled,
    run,
)
from recipes.families.sharpened import L0, tiny, token_ids
from ropewalk.attention import decode
from ropewalk.integrations.kept_keys import KEPT
from ropewalk.integrations.watched_layer import WatchedLayer


def test_a_step_turns_its_own_key_and_a_change_of_length_all(model, ranges):
    ids = token_ids(1, 60)
    cache = prefilled(model, ids[:, :PROMPT])
    actual = decoded(model, ids, cache, PROMPT, 60)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    # A row at position n sees L = 48 up to n = 47 and L = 64 from there on.
    expected = [[(0 if n in (PROMPT, 48) else n, n + 1)] for n in range(PROMPT, 60)]
    assert ranges == by_layer(*expected)


def test_steps_beyond_the_room_move_the_turned_keys(model, monkeypatch):
    monkeypatch.setattr(decode, "ROOM_KEYS", 4)
    ids = token_ids(1, PROMPT + 6)
    cache = prefilled(model, ids[:, :PROMPT])
    actual = decoded(model, ids, cache, PROMPT, PROMPT + 6)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)


def test_within_the_trained_length_keys_are_turned_once(model, ranges):
    ids = token_ids(1, L0 - 2)
    cache = prefilled(model, ids[:, :10])
    assert_close(decoded(model, ids, cache, 10, L0 - 2), at_once(model, ids)[:, 10:], **EXACT)
    assert ranges == by_layer([(0, 11)], *([(n, n + 1)] for n in range(11, L0 - 2)))


def test_other_tokens_after_a_crop_meet_no_stale_key(model, ranges):
    ids, other = token_ids(1, PROMPT + 4), token_ids(1, PROMPT + 4, seed=1)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 4)
    cache.crop(-3)
    mixed = torch.cat([ids[:, : PROMPT + 1], other[:, : PROMPT + 1][:, -3:]], dim=1)
    actual = decoded(model, mixed, cache, PROMPT + 1, PROMPT + 4)
    assert_close(actual, at_once(model, mixed)[:, PROMPT + 1 :], **EXACT)
    assert ranges[-3 * LAYERS :][:LAYERS] == by_layer([(0, PROMPT + 2)])


WRITES = {
    "in place": lambda layer: layer.keys.mul_(1.5),
    "data": lambda layer: layer.keys.data.mul_(1.5),
    "another's data": lambda layer: setattr(layer.keys, "data", layer.keys * 1.5),
    "numpy": lambda layer: np.multiply(layer.keys.numpy(), 1.5, out=layer.keys.numpy()),
    "one key": lambda layer: layer.keys.data[:, :, 5].zero_(),
    "another tensor": lambda layer: setattr(layer, "keys", layer.keys * 1.5),
    "through the cache": lambda layer: layer.reorder_cache(torch.tensor([0])),
}


@pytest.mark.parametrize("write", WRITES)
def test_keys_that_were_written_to_are_rotated_anew(model, write):
    """In ways that leave a trace on the tensor, and in ways that leave none."""
    ids = token_ids(1, PROMPT + 3)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 2)
    WRITES[write](cache.layers[1])
    untouched = copy.deepcopy(cache)
    actual = run(model, ids[:, -1:], cache)
    other = tiny()
    with rw.extend(other, METHOD):
        assert_close(actual, run(other, ids[:, -1:], untouched), **EXACT)


def test_who_holds_keys_of_an_earlier_step_holds_others(model, ranges):
    """Each step makes new ones: those that somebody was handed are no longer read."""
    ids = token_ids(1, PROMPT + 4)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 2)
    held = cache.layers[1].keys
    found = run(model, ids[:, PROMPT + 2 : PROMPT + 3], cache)
    held.data.mul_(1.5)
    found = torch.cat([found, run(model, ids[:, -1:], cache)], dim=1)
    assert_close(found, at_once(model, ids)[:, -2:], **EXACT)
    assert ranges[-LAYERS:] == by_layer([(PROMPT + 3, PROMPT + 4)])


def test_a_watched_cache_is_the_library_s_in_all_else(model):
    ids = token_ids(1, PROMPT + 2)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 2)
    assert all(type(layer) is WatchedLayer for layer in cache.layers)
    assert type(DynamicCache(config=model.config).layers[0]) is DynamicLayer
    assert cache.get_seq_length() == PROMPT + 2
    copied = pickle.loads(pickle.dumps(cache))
    for layer, other in zip(cache.layers, copied.layers, strict=True):
        assert torch.equal(layer.keys, other.keys)
    cache.reset()
    assert cache.get_seq_length() == 0
    assert_close(run(model, ids, cache), at_once(model, ids), **EXACT)


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


def test_a_cache_that_does_not_append_is_not_trusted(model, ranges):
    ids = token_ids(1, PROMPT + 3)
    cache = StaticCache(config=model.config, max_cache_len=PROMPT + 10)
    run(model, ids[:, :PROMPT], cache)
    actual = decoded(model, ids, cache, PROMPT, PROMPT + 3)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    assert ranges == []


def test_inference_mode_keeps_keys_and_a_mode_that_ends_ends_well(model, ranges):
    ids = token_ids(1, PROMPT + 4)
    with torch.inference_mode():
        cache = prefilled(model, ids[:, :PROMPT])
        inside = decoded(model, ids, cache, PROMPT, PROMPT + 3)
    outside = decoded(model, ids, cache, PROMPT + 3, PROMPT + 4)
    assert_close(torch.cat([inside, outside], dim=1), at_once(model, ids)[:, PROMPT:], **EXACT)
    assert ranges[LAYERS:] == by_layer(*([(n, n + 1)] for n in range(PROMPT + 1, PROMPT + 4)))


def test_what_is_kept_goes_with_the_cache(model):
    ids = token_ids(1, PROMPT + 2)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 2)
    rooms = [weakref.ref(getattr(layer, KEPT).room) for layer in cache.layers]
    assert len(rooms) == LAYERS
    del cache
    gc.collect()
    assert all(room() is None for room in rooms)


def test_removal_takes_the_hooks_out():
    model = tiny()
    hooks = [dict(module._forward_pre_hooks) for module in model.modules()]
    with rw.extend(model, METHOD):
        run(model, token_ids(1, 4), DynamicCache(config=model.config))
    assert [dict(module._forward_pre_hooks) for module in model.modules()] == hooks
