"""Attention over disjoint sets of keys, joined by their log-sum-exps.

    lse = log(exp(lse_a) + exp(lse_b));   out = out_a + (out_b - out_a) * sigmoid(lse_b - lse_a)

Exact: each set's softmax is turned into its share of the whole one.
"""

import torch
from torch import Tensor

from ropewalk.attention.lse import Partial
from ropewalk.core.rotation import work_dtype


class Merger:
    """Adds up what rows ``[b, h, m]`` get from one set of keys after another.

    Sums are float32 (float64 for float64). A row that got nothing is 0. The first addition
    lends its memory.
    """

    def __init__(self, q: Tensor, value_dim: int) -> None:
        self._shape = (*q.shape[:3], value_dim)
        self._like = q
        self._sum: Partial | None = None

    def add(self, part: Partial, first: int, last: int) -> None:
        """What the rows ``first .. last - 1`` get from keys that were not added before."""
        dtype = work_dtype(part.out.dtype)
        if self._sum is None and last - first == self._shape[2]:
            self._sum = Partial(part.out.to(dtype), part.lse)
            return
        if self._sum is None:
            self._sum = self._nothing(dtype)
        out, lse = self._sum.out[:, :, first:last], self._sum.lse[..., first:last]
        # Not a number where neither has any key.
        weight = torch.sigmoid(part.lse - lse).nan_to_num_(0.0)
        out.lerp_(part.out.to(dtype), weight[..., None])
        lse.copy_(torch.logaddexp(lse, part.lse))

    def result(self, sinks: Tensor | None) -> Partial:
        """The sum; ``sinks`` ``[h]``: logits of a key without a value, seen by all."""
        total = self._sum or self._nothing(work_dtype(self._like.dtype))
        if sinks is None:
            return total
        sink = sinks.to(total.lse.dtype)[None, :, None]
        share = torch.sigmoid(total.lse - sink)
        return Partial(total.out * share[..., None], torch.logaddexp(total.lse, sink))

    def _nothing(self, dtype: torch.dtype) -> Partial:
        batch, heads, rows, width = self._shape
        out = self._like.new_zeros(batch, rows, heads, width, dtype=dtype).transpose(1, 2)
        lse = self._like.new_full((batch, heads, rows), float("-inf"), dtype=dtype)
        return Partial(out, lse)
