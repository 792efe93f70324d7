"""Sizes of tiles, maps and rows that tests of tiles draw from."""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from attention_inputs import qkv
from ropewalk.attention import call as cutting
from ropewalk.attention.tiles import Sizes
from ropewalk.core.rows import Rows
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.leaky_rerope import LeakyReRoPE
from ropewalk.positions.rerope import ReRoPE
from ropewalk.positions.self_extend import SelfExtend
from ropewalk.positions.string import ShiftedRoPE

L0, DIM = 6, 8


@contextmanager
def cut_by(sizes):
    """Hypothesis wants no fixture that outlives an example."""
    before, cutting.SIZES = cutting.SIZES, sizes
    try:
        yield
    finally:
        cutting.SIZES = before


@dataclass(frozen=True, eq=False)
class Masked(Rows):
    """The last m of n tokens under any mask ``[.., m, n]``, joined with the causal one."""

    query_positions: torch.Tensor
    key_positions: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, mask, starts=(0,)):
        """``starts``: the first position of each sequence."""
        rows, keys = mask.shape[-2:]
        index = torch.arange(max(rows, keys)) + torch.tensor(starts)[:, None]
        return cls(index[:, -rows:], index[:, :keys], mask)

    def allowed(self, first, last):
        return self.mask.shape[-1], self.mask[..., first:last, :]


def causal(mask):
    rows, keys = mask.shape[-2:]
    return mask & (torch.arange(keys) <= torch.arange(keys - rows, keys)[:, None])


MAPS = {
    "rerope": ReRoPE(window=4),
    "rerope of one": ReRoPE(window=1),
    "wide rerope": ReRoPE(window=7),
    "leaky": LeakyReRoPE(window=3, slope=2.5),
    "self extend": SelfExtend(group_size=2, window=4),
    "odd groups": SelfExtend(group_size=3, window=5),
    "dual chunk": DualChunk(chunk_size=5, local_window=2),
    "small chunks": DualChunk(chunk_size=2, local_window=1),
    "string": ShiftedRoPE(shift=5, window=2),
}


@st.composite
def sizes(draw):
    return Sizes(
        tile_rows=draw(st.integers(1, 9)),
        masked_rows=draw(st.integers(1, 5)),
        least_rows=draw(st.integers(1, 4)),
        strip_rows=draw(st.integers(1, 7)),
        mask_numbers=draw(st.integers(1, 60)),
    )


@st.composite
def calls(draw):
    """q, k, v of a prefill, a chunk or a decoding step, with heads that share keys or not."""
    keys = draw(st.integers(1, 17))
    groups, repeats = draw(st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2)]))
    queries = draw(st.one_of(st.just(1), st.just(keys), st.integers(1, keys)))
    values = draw(st.sampled_from([5, DIM, 11]))
    return qkv(draw(st.integers(1, 2)), groups * repeats, groups, queries, keys, values=values)
