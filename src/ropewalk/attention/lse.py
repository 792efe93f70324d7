"""The one guarded wrapper of fused attention kernels that return the log-sum-exp.

With the log-sum-exp of each row, attention over disjoint sets of keys can be computed set by
set and merged exactly (``ropewalk.attention.merge``). The kernels are private to PyTorch, so
nothing else calls them, and where one is missing or refuses, plain products run instead. Traps
of the kernels, each held by a test:

- a row that sees no key gets the log-sum-exp 0, not minus infinity;
- the log-sum-exp carries no gradient: a merged gradient would be wrong beside a right output;
- values as wide as the keys are expected, and masks of the dtype of the query;
- a causal kernel aligns the first row with the first key (on CPU also where m and n differ);
- no keys at all end the process (an integer division by zero);
- channels that do not lie side by side in memory are read as if they did.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.core.rotation import work_dtype


class Seen(Enum):
    """Which keys rows see, where it takes no mask to say so."""

    ALL = "every row sees every key"
    TOP_LEFT = "row i sees keys 0 .. i"


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """Attention over some of the keys.

    out  ``[b, h, m, e]``: weighted values, as if there were no other keys; 0 where there are none
    lse  ``[b, h, m]``: log of the sum of exp(scores), in nats; minus infinity where there are none
    """

    out: Tensor
    lse: Tensor


def attend_lse(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    seen: Seen | Tensor = Seen.ALL,
    bias: Tensor | None = None,
) -> Partial:
    """Attention of ``q`` ``[b, h, m, d]`` over ``k`` ``[b, g, n, d]`` and ``v`` ``[b, g, n, e]``.

    g divides h. ``seen`` is a rule, or a mask ``[b or 1, h or 1, m, n]``: bool, or numbers that
    are added to the scores. ``bias``, in the place of a mask, is numbers under which every row
    sees a key. The output has the dtype of ``q``, the log-sum-exp is float32
    (float64 for float64).
    """
    kernel = _kernel_for(q, k, v)
    if kernel is None:
        return plain_lse(q, k, v, scale=scale, seen=seen if bias is None else bias)
    narrow, q, k, v = v.shape[-1], *(dense(x) for x in equally_wide(q, k, v))
    mask = bias if isinstance(seen, Seen) else added(seen, q)
    rule = seen if isinstance(seen, Seen) else Seen.ALL
    try:
        out, lse = kernel(q, k, v, scale, rule, mask)
    except torch.OutOfMemoryError:
        raise  # plain products need more memory still
    except (NotImplementedError, RuntimeError):
        given = seen if bias is None else bias
        return plain_lse(q, k, v[..., :narrow], scale=scale, seen=given)
    out = out[..., :narrow]
    if mask is None or bias is not None:
        return Partial(out, lse)
    blind = mask.isneginf().all(dim=-1)
    return Partial(out.masked_fill(blind[..., None], 0.0), lse.masked_fill(blind, float("-inf")))


def plain_lse(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, seen: Seen | Tensor = Seen.ALL
) -> Partial:
    """What ``attend_lse`` computes, from plain products; both results carry gradients."""
    wide = work_dtype(q.dtype)
    scores = by_group(q.to(wide), k.to(wide).transpose(-1, -2)) * scale
    if seen is not Seen.ALL:
        mask = top_left(scores) if isinstance(seen, Seen) else added(seen, q)
        scores = scores + mask
    lse = scores.logsumexp(dim=-1)
    top = lse.detach().masked_fill(lse.isneginf(), 0.0)
    weights = (scores - top[..., None]).exp()
    total = weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return Partial(by_group((weights / total).to(v.dtype), v), lse)


def by_group(x: Tensor, other: Tensor) -> Tensor:
    """``x`` ``[b, h, m, i]`` times ``other`` ``[b, g, i, j]``, h / g heads of ``x`` with each.

    ``other`` is not copied for the heads that share it.
    """
    batch, heads, rows, width = x.shape
    grouped = x.reshape(batch, other.shape[1], heads // other.shape[1] * rows, width)
    return (grouped @ other).reshape(batch, heads, rows, other.shape[-1])


_Kernel = Callable[[Tensor, Tensor, Tensor, float, Seen, Tensor | None], tuple[Tensor, Tensor]]


def _kernel_for(q: Tensor, k: Tensor, v: Tensor) -> _Kernel | None:
    """The kernel for these tensors; None where plain products have to do."""
    needs_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if needs_gradient or 0 in q.shape or 0 in k.shape or 0 in v.shape:
        return None
    return _KERNELS.get(q.device.type)


def _on_cpu(
    q: Tensor, k: Tensor, v: Tensor, scale: float, seen: Seen, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = operator(q, k, v, is_causal=seen is Seen.TOP_LEFT, attn_mask=mask, scale=scale)
    return out, lse


def _on_cuda(
    q: Tensor, k: Tensor, v: Tensor, scale: float, seen: Seen, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Flash attention where it can (half precision, no mask), memory-efficient attention else.

    Causal kernels here are asked about squares alone: their alignment is not the same.
    """
    causal, rows = seen is Seen.TOP_LEFT, q.shape[2]
    if causal and rows != k.shape[2]:
        raise NotImplementedError("a causal rectangle")
    if mask is None and q.dtype in (torch.float16, torch.bfloat16):
        flash = torch.ops.aten._scaled_dot_product_flash_attention
        out, lse, *_ = flash(q, k, v, is_causal=causal, scale=scale)
        return out, lse
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    bias = None if mask is None else mask.to(q.dtype).expand(*q.shape[:3], k.shape[2])
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    out, lse, *_ = efficient(q, k, v, bias, compute_log_sumexp=True, is_causal=causal, scale=scale)
    return out, lse[..., :rows]


_KERNELS: dict[str, _Kernel] = {"cpu": _on_cpu, "cuda": _on_cuda}


def equally_wide(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values of one width: channels of zeros change neither products nor sums."""
    missing = k.shape[-1] - v.shape[-1]
    if missing > 0:
        return q, k, functional.pad(v, (0, missing))
    if missing < 0:
        return functional.pad(q, (0, -missing)), functional.pad(k, (0, -missing)), v
    return q, k, v


def dense(x: Tensor) -> Tensor:
    """``x`` with its channels side by side in memory."""
    return x if x.stride(-1) == 1 else x.contiguous()


def added(mask: Tensor, q: Tensor) -> Tensor:
    """A mask as numbers to add, 4-D."""
    if mask.dtype != torch.bool:
        return mask.to(work_dtype(q.dtype))
    added = torch.zeros(mask.shape, dtype=work_dtype(q.dtype), device=mask.device)
    return added.masked_fill_(~mask, float("-inf"))


def top_left(scores: Tensor) -> Tensor:
    """Numbers ``[m, n]`` to add to ``scores`` ``[b, h, m, n]``: row i sees keys 0 .. i."""
    return torch.full_like(scores[0, 0], float("-inf")).triu_(1)
