"""Which keys a step rotates where regions, layouts and sequences differ.

Expected logits come from one call over the whole sequence.
"""

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache

import ropewalk as rw
from decoding_steps import (
    EXACT,
    METHOD,
    PROMPT,
    at_once,
    by_layer,
    decoded,
    prefilled,
    run,
)
from recipes.families.sharpened import L0, left_padded, tiny, token_ids

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
