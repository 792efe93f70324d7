"""From products of turned queries and keys to values: the architecture's own part."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.attention.lse import by_group
from ropewalk.core.encoding import Encoding
from ropewalk.core.rotation import work_dtype
from ropewalk.core.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Softmax:
    """How a model makes weights of scores.

        s = sigma * q.k;  s = cap * tanh(s / cap);  s + bias;  weights = softmax([s, sink])

    scale    sigma; None for d^-1/2
    softcap  cap; None for no cap (Gemma 2, arXiv:2408.00118, section 2)
    sinks    ``[h]``: the logit of a key that every row sees and that has no value; None for
             none (gpt-oss, arXiv:2508.10925, section 2.3)
    dropout  share of the weights that are dropped
    """

    scale: float | None = None
    softcap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether fused attention can do it."""
        return self.softcap is None and self.sinks is None

    def bare(self, encoding: Encoding, *tensors: Tensor) -> bool:
        """Whether only products times sigma and tau decide, and no gradient is wanted."""
        wants_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
        changed = encoding.biased or encoding.values_encoded
        return self.plain and not self.dropout and not wants_gradient and not changed

    def scale_of(self, q: Tensor) -> float:
        """sigma for heads as wide as those of ``q``."""
        return q.shape[-1] ** -0.5 if self.scale is None else self.scale

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """``q`` ``[b, h, m, d]``, ``k`` ``[b, g, n, d]``, both turned -> ``[b, h, m, e]``.

        mask  bool, or numbers that are added to the scores: ``[b or 1, h or 1, m, n]``
        """
        if not self.plain:
            return self.weigh(by_group(q, k.transpose(-1, -2)), v, mask, q.shape[-1])
        if mask is not None:
            mask = _seeing_something(mask)
            mask = mask if mask.dtype == torch.bool else mask.to(q.dtype)
        grouped = q.shape[1] != k.shape[1]
        if grouped and q.is_cuda and (mask is not None or q.dtype == torch.float32):
            # Of CUDA's fused kernels only the one without masks and float32 takes grouped heads.
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
            grouped = False
        return functional.scaled_dot_product_attention(
            q, k, v, mask, self.dropout, scale=self.scale, enable_gqa=grouped
        )

    def weigh(self, products: Tensor, v: Tensor, mask: Tensor | None, width: int) -> Tensor:
        """Values weighed by products q.k ``[b, h, m, n]`` of heads of ``width`` channels."""
        return by_group(self.weights(products, mask, width).to(v.dtype), v)

    def weights(self, products: Tensor, mask: Tensor | None, width: int) -> Tensor:
        """Weights ``[b, h, m, n]`` of products, float32 or float64; dropout has been applied."""
        wide = torch.float64 if products.dtype == torch.float64 else torch.float32
        scores = products.to(wide) * (width**-0.5 if self.scale is None else self.scale)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if mask is not None:
            scores = _masked(scores, _seeing_something(mask))
        return functional.dropout(self._weights(scores), self.dropout)

    def _weights(self, scores: Tensor) -> Tensor:
        if self.sinks is None:
            return scores.softmax(dim=-1)
        sinks = self.sinks.to(scores.dtype)[None, :, None, None]
        column = sinks.expand(*scores.shape[:-1], 1)
        return torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, float("-inf"))
    return scores + mask.to(scores.dtype)


def _seeing_something(mask: Tensor) -> Tensor:
    """A row of padding sees every key: its softmax stays finite, and nobody reads it."""
    if mask.dtype == torch.bool:
        blind = ~mask.any(dim=-1, keepdim=True)
        return mask | blind if bool(blind.any()) else mask
    blind = mask.isneginf().all(dim=-1, keepdim=True)
    return mask.masked_fill(blind, 0.0)


def times_tau(q: Tensor, encoding: Encoding, rows: Rows) -> Tensor:
    """Queries times tau of their rows."""
    if not encoding.score_mods:
        return q
    dtype = work_dtype(q.dtype)
    scale = encoding.query_scale(rows.query_index).to(dtype)[:, None, :, None]
    return (q.to(dtype) * scale).to(q.dtype)
