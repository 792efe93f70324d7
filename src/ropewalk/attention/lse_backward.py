"""Gradients of attention over some of the keys, under the log-sum-exp of all of them.

    P = exp(s - lse);   D = sum_e dO * O;   dS = P * (dO V^T - D)
    dQ = sigma dS K;    dK = sigma dS^T Q;  dV = P^T dO

O and lse are those of everything that a row sees, so P are its true weights, and the gradients of
disjoint sets of keys add up to the whole. The kernels' own log-sum-exp carries no gradient, and
none is needed.

Source: FlashAttention, arXiv:2205.14135, appendix B.4; FlashAttention-2, arXiv:2307.08691,
    section 2.3.2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.attention.lse import Partial, Seen, added, by_group, dense, equally_wide, top_left
from ropewalk.core.rotation import work_dtype


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Of rotated queries ``[b, h, m, d]``, rotated keys ``[b, g, n, d]`` and values.

    diagonals  of a bias of the distance, ``[h, m + n - 1]``; None where there is none
    """

    q: Tensor
    k: Tensor
    v: Tensor
    diagonals: Tensor | None = None


def attend_lse_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    whole: Partial,
    *,
    scale: float,
    seen: Seen | Tensor = Seen.ALL,
) -> Gradients:
    """Gradients of ``attend_lse``, as far as these keys have a part in ``whole``.

    grad   ``[b, h, m, e]``: of the merged output
    whole  merged output and log-sum-exp of these rows; a row that sees nothing gets no gradient

    The rest as in ``attend_lse``.
    """
    whole = Partial(whole.out, whole.lse.masked_fill(whole.lse.isneginf(), float("inf")))
    if q.device.type != "cpu" or 0 in q.shape or 0 in k.shape or 0 in v.shape:
        return plain_backward(grad, q, k, v, whole, scale=scale, seen=seen)
    try:
        return _on_cpu(grad, q, k, v, whole, scale, seen)
    except torch.OutOfMemoryError:
        raise  # plain products need more memory still
    except (NotImplementedError, RuntimeError, AttributeError):
        return plain_backward(grad, q, k, v, whole, scale=scale, seen=seen)


def plain_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    whole: Partial,
    *,
    scale: float,
    seen: Seen | Tensor = Seen.ALL,
) -> Gradients:
    """What ``attend_lse_backward`` computes, from plain products."""
    wide = work_dtype(q.dtype)
    q, k, v, grad = (x.to(wide) for x in (q, k, v, grad))
    scores = by_group(q, k.transpose(-1, -2)) * scale
    if seen is not Seen.ALL:
        scores = scores + (top_left(scores) if isinstance(seen, Seen) else added(seen, q))
    weights = (scores - whole.lse[..., None].to(wide)).exp()
    mean = (grad * whole.out.to(wide)).sum(dim=-1, keepdim=True)
    d_scores = weights * (by_group(grad, v.transpose(-1, -2)) - mean) * scale
    return Gradients(by_group(d_scores, k), to_keys(d_scores, q, k), to_keys(weights, grad, k))


def to_keys(weights: Tensor, rows: Tensor, k: Tensor) -> Tensor:
    """``weights`` ``[b, h, m, n]`` and ``rows`` ``[b, h, m, d]`` -> ``[b, g, n, d]``."""
    weights, rows = (x.reshape(*k.shape[:2], -1, x.shape[-1]) for x in (weights, rows))
    return weights.transpose(-1, -2) @ rows


def _on_cpu(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    whole: Partial,
    scale: float,
    seen: Seen | Tensor,
) -> Gradients:
    width, narrow = q.shape[-1], v.shape[-1]
    out = whole.out.to(q.dtype)
    q, k, v = (dense(x) for x in equally_wide(q, k, v))
    missing = v.shape[-1] - narrow
    grad, out = (torch.nn.functional.pad(x, (0, missing)) for x in (grad.to(q.dtype), out))
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    d_q, d_k, d_v = operator(
        dense(grad),
        q,
        k,
        v,
        dense(out),
        whole.lse,
        0.0,
        seen is Seen.TOP_LEFT,
        attn_mask=None if isinstance(seen, Seen) else added(seen, q),
        scale=scale,
    )
    return Gradients(d_q[..., :width], d_k[..., :width], d_v[..., :narrow])
