"""Decoding steps of a tiny model, and which keys they rotated."""

import torch
from transformers import DynamicCache

from recipes.families.sharpened import L0

METHOD = "dynamic_ntk:step=16"
PROMPT = L0 + 3
LAYERS = 4
# Full pass and steps sum in different orders, over logits of size 10.
EXACT = {"rtol": 0, "atol": 1e-9}


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
