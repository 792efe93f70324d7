"""All-to-all: heads for tokens before attention, and back after it.

    before  rank r has all heads of its tokens
    within  rank r has its heads of all tokens

Source: Jacobs et al. 2023, DeepSpeed Ulysses, arXiv:2309.14509, section 3.
Deviation: tokens and heads need not be multiples of the ranks, and ranks that outnumber key heads
    have copies of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ropewalk.ranks.ranks import Ranks


def all_tokens(x: Tensor, ranks: Ranks, heads: Sequence[range], tokens: Sequence[range]) -> Tensor:
    """``[b, h, m_r, d]`` of this rank's tokens -> ``[b, h_r, m, d]`` of its heads.

    heads, tokens  of each rank
    """
    batch, _, _, width = x.shape
    parts = [x[:, each.start : each.stop] for each in heads]
    own = len(heads[ranks.rank])
    shapes = [(batch, own, len(each), width) for each in tokens]
    return torch.cat(ranks.swapped(parts, shapes), dim=2)


def all_heads(x: Tensor, ranks: Ranks, heads: Sequence[range], tokens: Sequence[range]) -> Tensor:
    """The way back: ``[b, h_r, m, d]`` -> ``[b, h, m_r, d]``. Heads of ranks do not overlap."""
    batch, _, _, width = x.shape
    parts = [x[:, :, each.start : each.stop] for each in tokens]
    own = len(tokens[ranks.rank])
    shapes = [(batch, len(each), own, width) for each in heads]
    return torch.cat(ranks.swapped(parts, shapes), dim=1)
