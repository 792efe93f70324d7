"""A model gives one result, however its tokens are fed."""

from torch.testing import assert_close

from recipes.families.sharpened import (
    L0,
    in_calls,
    left_padded,
    logits,
    token_ids,
)

LENGTH, SHORT = 80, 57


SIZES = (7, 33, 1, 32, 7)


STEPS = (L0 - 6, *(1,) * 14, LENGTH - L0 - 8)
"""Token by token across the trained length."""


def agree(model, atol=1e-9, steps=STEPS):
    """Assert that a model gives one result, however its sequence is fed."""
    agree_in_calls(model, atol, steps)
    agree_when_padded(model, atol)


def agree_in_calls(model, atol, steps=STEPS):
    ids = token_ids(1, LENGTH)
    full = logits(model, ids)
    for sizes in (SIZES, steps):
        assert_close(in_calls(model, ids, sizes), full, rtol=0, atol=atol)


def agree_when_padded(model, atol):
    ids, mate = token_ids(1, SHORT), token_ids(1, LENGTH, seed=1)
    alone = logits(model, ids)
    both, mask = left_padded(ids, LENGTH, mate)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for inputs in ({}, {"position_ids": positions}):
        padded = logits(model, both, attention_mask=mask, **inputs)
        assert_close(padded[:1, LENGTH - SHORT :], alone, rtol=0, atol=atol)
        assert_close(padded[1:], logits(model, mate), rtol=0, atol=atol)
