"""Rotated keys are kept between decoding steps only as long as nothing about them changes.

Expected logits come from one call over the whole sequence, or from a model that kept nothing.
"""

import copy
import gc
import weakref

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache, StaticCache

import ropewalk as rw
from recipes.families.sharpened import L0, left_padded, tiny, token_ids
from ropewalk.attention import decode
from ropewalk.attention.decode import Step
from ropewalk.integrations.kept_keys import KEPT, KeptKeys

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
def ranges(monkeypatch):
    """The keys (first, last exclusive) that layers rotated, in steps with kept keys."""
    seen, rotated = [], KeptKeys.rotated

    def seeing(kept, index, keys, step):
        with monkeypatch.context() as patch:
            write = Step.write_keys
            patch.setattr(Step, "write_keys", lambda *a: seen.extend(a[3]) or write(*a))
            return rotated(kept, index, keys, step)

    monkeypatch.setattr(KeptKeys, "rotated", seeing)
    return seen


def by_layer(*steps):
    """``steps``: the ranges of each, as every layer turns them."""
    return [turned for step in steps for _ in range(LAYERS) for turned in step]


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


MAPS = {
    # Keys at a distance of the window, that pass from near to far.
    "rerope:window=12": lambda n: [n - 12],
    "rerope:window=12+log_n": lambda n: [n - 12],
    "leaky_rerope:window=12,slope=3": lambda n: [n - 12],
    "self_extend:group_size=4,window=12": lambda n: [n - 12],
    # Their keys are shown at one position in all regions.
    "string:shift=12,window=4": lambda n: [],
    "dual_chunk:chunk_size=10,local_window=6": lambda n: [],
    "dual_chunk:chunk_size=10,local_window=6+yarn:factor=2": lambda n: [],
}


@pytest.mark.parametrize("method", MAPS)
def test_a_step_turns_its_own_key_and_those_that_change_their_region(method, ranges):
    """Over a window's edge and two chunk boundaries."""
    model, ids, first, last = tiny(), token_ids(1, 46), 19, 46
    with rw.extend(model, method):
        cache = prefilled(model, ids[:, :first])
        actual = decoded(model, ids, cache, first, last)
        assert_close(actual, at_once(model, ids)[:, first:], **EXACT)
    passing = [[(n, n + 1) for n in (*MAPS[method](m), m)] for m in range(first + 1, last)]
    assert ranges == by_layer([(0, first + 1)], *passing)


@pytest.mark.parametrize("method", ["dual_chunk:chunk_size=10,local_window=6+dynamic_ntk:step=16"])
def test_several_regions_under_an_l_that_lasts(method, ranges):
    model, ids = tiny(), token_ids(1, 56)
    with rw.extend(model, method):
        cache = prefilled(model, ids[:, :36])
        actual = decoded(model, ids, cache, 36, 56)
        assert_close(actual, at_once(model, ids)[:, 36:], **EXACT)
    expected = [[(0 if n in (36, 48) else n, n + 1)] for n in range(36, 56)]
    assert ranges == by_layer(*expected)


@pytest.mark.parametrize(
    "method",
    ["rerope:window=12+dynamic_ntk:step=1", "dynamic_ntk:step=1", "dynamic_yarn:step=1+log_n"],
)
def test_an_l_that_changes_with_every_token_rotates_all_keys_anew(method, ranges):
    model, ids = tiny(), token_ids(1, PROMPT + 3)
    with rw.extend(model, method):
        cache = prefilled(model, ids[:, :PROMPT])
        actual = decoded(model, ids, cache, PROMPT, PROMPT + 3)
        assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    assert ranges == by_layer(*([(0, n + 1)] for n in range(PROMPT, PROMPT + 3)))


@pytest.mark.parametrize(
    "method", ["dynamic_ntk:step=1", METHOD, "rerope:window=12", "dynamic_yarn:step=1"]
)
def test_a_left_padded_batch_is_each_sequence_alone(method, ranges):
    """Sequences of unequal lengths: an L, an anchor and bands of their own."""
    model, ids, mate = tiny(), token_ids(1, L0 + 9), token_ids(1, L0 + 14, seed=1)
    both, mask = left_padded(ids, L0 + 14, mate)
    first, steps = L0 - 2, range(L0 - 2, L0 + 14)
    with rw.extend(model, method):
        cache = DynamicCache(config=model.config)
        run(model, both[:, :first], cache, attention_mask=mask[:, :first])
        actual = torch.cat(
            [run(model, both[:, n : n + 1], cache, attention_mask=mask[:, : n + 1]) for n in steps],
            dim=1,
        )
        assert ranges
        assert_close(actual[:1], at_once(model, ids)[:, first - 5 :], **EXACT)
        assert_close(actual[1:], at_once(model, mate)[:, first:], **EXACT)


@pytest.mark.parametrize(
    "method", ["dynamic_ntk:step=1", "dynamic_yarn:step=8", "rerope:window=12"]
)
@pytest.mark.parametrize("family", ["cohere", "glm4", "gpt_neox", "phi", "stablelm", "gemma"])
def test_any_layout_of_heads(family, method, ranges):
    """Interleaved pairs; heads of which a part turns, and of which no two share keys."""
    model, ids = tiny(family), token_ids(1, L0 + 9)
    with rw.extend(model, method):
        cache = prefilled(model, ids[:, :L0])
        actual = decoded(model, ids, cache, L0, L0 + 9)
        assert_close(actual, at_once(model, ids)[:, L0:], **EXACT)
    assert ranges


def test_other_tokens_after_a_crop_meet_no_stale_key(model, ranges):
    ids, other = token_ids(1, PROMPT + 4), token_ids(1, PROMPT + 4, seed=1)
    cache = prefilled(model, ids[:, :PROMPT])
    decoded(model, ids, cache, PROMPT, PROMPT + 4)
    cache.crop(-3)
    mixed = torch.cat([ids[:, : PROMPT + 1], other[:, : PROMPT + 1][:, -3:]], dim=1)
    actual = decoded(model, mixed, cache, PROMPT + 1, PROMPT + 4)
    assert_close(actual, at_once(model, mixed)[:, PROMPT + 1 :], **EXACT)
    assert ranges[-3 * LAYERS :][:LAYERS] == by_layer([(0, PROMPT + 2)])


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


def test_a_cache_that_does_not_append_is_not_trusted(model, ranges):
    ids = token_ids(1, PROMPT + 3)
    cache = StaticCache(config=model.config, max_cache_len=PROMPT + 10)
    run(model, ids[:, :PROMPT], cache)
    actual = decoded(model, ids, cache, PROMPT, PROMPT + 3)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    assert ranges == []


def test_inference_mode_cannot_tell_writes_and_keeps_nothing(model, ranges):
    ids = token_ids(1, PROMPT + 2)
    with torch.inference_mode():
        cache = prefilled(model, ids[:, :PROMPT])
        actual = decoded(model, ids, cache, PROMPT, PROMPT + 2)
    assert_close(actual, at_once(model, ids)[:, PROMPT:], **EXACT)
    assert ranges == []


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
