"""The arithmetic of docs/scale.md, against the library's own count and tensors that are sent."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModel

from recipes.scale.arithmetic import SEVEN, SMOLLM2, measured, seconds
from ropewalk.ranks.cutting import key_shares, shares
from ropewalk.ranks.exchange import all_heads, all_tokens

SMALL = replace(SMOLLM2, layers=1, heads=8, key_heads=2, head_dim=4)
TOKENS = 64


@pytest.mark.parametrize("shape", [SMOLLM2, SEVEN])
def test_parameters_of_the_layers_are_those_of_the_library(shape):
    config = AutoConfig.for_model(
        "llama",
        hidden_size=shape.hidden,
        intermediate_size=shape.middle,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        vocab_size=shape.vocabulary,
    )
    with torch.device("meta"):
        layers = AutoModel.from_config(config).layers
    products = [each.numel() for each in layers.parameters() if each.ndim == 2]
    assert shape.parameters == sum(products)


class Counting:
    """Ranks that send to nobody, and count."""

    def __init__(self, rank, size):
        self.rank, self.size, self.sent = rank, size, 0

    def swapped(self, parts, shapes):
        self.sent += sum(part.numel() for r, part in enumerate(parts) if r != self.rank)
        return tuple(torch.zeros(shape) for shape in shapes)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_traffic_is_what_a_layer_sends(size):
    """The mean over ranks, of numbers of four bytes; with eight, ranks outnumber key heads."""
    sent = 0
    for rank in range(size):
        counting, tokens = Counting(rank, size), shares(TOKENS, size)
        queries, keys = shares(SMALL.heads, size), key_shares(SMALL.key_heads, size)
        own = len(tokens[rank])
        all_tokens(torch.zeros(1, SMALL.heads, own, 4), counting, queries, tokens)
        for _ in ("keys", "values"):
            all_tokens(torch.zeros(1, SMALL.key_heads, own, 4), counting, keys, tokens)
        all_heads(torch.zeros(1, len(queries[rank]), TOKENS, 4), counting, queries, tokens)
        sent += 4 * counting.sent
    assert SMALL.traffic(TOKENS, size) == pytest.approx(sent / size)


def test_the_share_of_a_peak_is_one():
    known = measured()
    assert 0 < known.share < 1
    assert seconds(2**20, known, 8) == pytest.approx(seconds(2**20, known) / 8)
