"""Who has which tokens and heads: everything once, and the keys that its queries read."""

import pytest
import torch
from torch.testing import assert_close

from ropewalk.core.errors import RopewalkError
from ropewalk.ranks.cutting import Heads, key_shares, shares

HEADS = [(8, 8), (8, 4), (8, 2), (8, 1), (9, 3), (6, 3), (14, 2), (32, 8), (5, 1)]


@pytest.mark.parametrize(("count", "size"), [(7, 2), (2, 2), (71, 4), (131_072, 8), (3, 5)])
def test_shares_are_everything_once_in_order(count, size):
    cut = shares(count, size)
    assert [token for each in cut for token in each] == list(range(count))
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_each_query_head_reads_the_key_head_that_it_read(heads, size):
    """Of every rank, by the rule of grouped heads: head i reads key head i // (H / G)."""
    count, keys = heads
    whole = torch.arange(keys, dtype=torch.float64)[None, :, None, None]
    for rank in range(size):
        own = Heads.of(rank, size, count)
        of_keys = key_shares(keys, size)[rank]
        held = whole[:, of_keys.start : of_keys.stop]
        grouped = own.in_groups(held, keys, of_keys.start)
        assert own.count % grouped.shape[1] == 0
        read = grouped.repeat_interleave(own.count // grouped.shape[1], dim=1).flatten()
        expected = [(own.first + i) // (count // keys) for i in range(own.count)]
        assert_close(read, torch.tensor(expected, dtype=torch.float64))


def test_keys_are_repeated_only_where_groups_are_cut():
    """Four ranks over two key heads have one each, as they are."""
    for rank in range(4):
        own, keys = Heads.of(rank, 4, 8), key_shares(2, 4)[rank]
        held = torch.zeros(1, len(keys), 3, 2)
        assert own.in_groups(held, 2, keys.start) is held


def test_more_ranks_than_heads_are_refused():
    with pytest.raises(RopewalkError, match="5 ranks over 4 heads: expected at most as many"):
        Heads.of(0, 5, 4)
