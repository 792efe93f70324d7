"""Tiny models put to use, for tests of several rooms.

The models are sharpened, so that a wrong position moves logits by far more than 1e-3.
"""

import pytest
import torch
from transformers import DynamicCache

from recipes.families.sharpened import logits, tiny, token_ids

EXACT = {"rtol": 0, "atol": 1e-9}
LONG = 256
"""A trained length that no test reaches: dynamic NTK and a window of 250 change nothing there."""
SPECS = ("yarn:factor=2", "dynamic_ntk:step=8", "rerope:window=12", "dynamic_ntk:policy=at_birth")
"""The rotary seam, L of each row, several regions, keys rotated at birth."""
SEAMS = pytest.mark.parametrize("spec", SPECS)
UNCHANGED = pytest.mark.parametrize("spec", ["native", "dynamic_ntk", "rerope:window=250"])
IDS = token_ids(1, 44)


def small(name="llama", **settings):
    return tiny(name, num_hidden_layers=2, **settings)


def full(model, ids=IDS, **inputs):
    return logits(model, ids, use_cache=False, **inputs)


@torch.no_grad()
def in_parts(model, *parts, cache=None):
    """Logits of (ids, position_ids) through one cache, and the cache."""
    cache = DynamicCache(config=model.config) if cache is None else cache
    out = [
        model(ids, past_key_values=cache, position_ids=positions, use_cache=True).logits
        for ids, positions in parts
    ]
    return torch.cat(out, dim=1), cache
