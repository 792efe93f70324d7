"""The one place that rotates."""

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import Pairing


def rotate(
    x: Tensor,
    angles: Tensor,
    *,
    pairing: Pairing = "half",
    first_channel: int = 0,
    factor: float | Tensor = 1.0,
) -> Tensor:
    """Turn pairs of channels of ``x`` ``[..., d]`` by ``angles`` ``[..., f]`` radians.

        (a, b) -> factor * (a cos - b sin, b cos + a sin)

    The 2f channels from ``first_channel`` on turn, the others pass. ``factor`` (a number,
    or a tensor that broadcasts with ``angles``) is the attention factor. Angles are float32
    or float64 and are turned into cos and sin in that dtype; the product is taken in float32
    (float64 for float64 input) and rounded once, to the dtype of ``x``.

    Raises RopewalkError for angles of lower precision, or more pairs than channels.
    """
    pairs = angles.shape[-1]
    last = first_channel + 2 * pairs
    if angles.dtype not in (torch.float32, torch.float64):
        raise RopewalkError(
            f"angles of dtype {angles.dtype}: expected float32 or float64; "
            "lower precision cannot tell neighbouring positions apart"
        )
    if last > x.shape[-1]:
        raise RopewalkError(
            f"{pairs} pairs from channel {first_channel} on: expected at most {x.shape[-1]} "
            "channels; is head_dim right?"
        )
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    cos, sin = (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)
    turned = _turn(x[..., first_channel:last].to(dtype), cos, sin, pairing).to(x.dtype)
    if turned.shape[-1] == x.shape[-1]:
        return turned
    before, after = x[..., :first_channel], x[..., last:]
    lead = turned.shape[:-1]
    return torch.cat([before.expand(*lead, -1), turned, after.expand(*lead, -1)], dim=-1)


def _turn(x: Tensor, cos: Tensor, sin: Tensor, pairing: Pairing) -> Tensor:
    """Both halves of each pair, written once, straight into the result.

    Where a gradient is wanted they are joined instead: autograd refuses to write into views.
    """
    a, b = _halves(x, pairing)
    if torch.is_grad_enabled() and (x.requires_grad or cos.requires_grad):
        return _joined(a * cos - b * sin, b * cos + a * sin, pairing)
    shape = torch.broadcast_shapes(a.shape, cos.shape)  # type: ignore[no-untyped-call]
    out = x.new_empty(*shape[:-1], x.shape[-1])
    first, second = _halves(out, pairing)
    torch.mul(a, cos, out=first).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=second).addcmul_(a, sin)
    return out


def _halves(x: Tensor, pairing: Pairing) -> tuple[Tensor, Tensor]:
    """Views of the first and the second channel of all pairs."""
    if pairing == "half":
        return x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return x[..., 0::2], x[..., 1::2]


def _joined(a: Tensor, b: Tensor, pairing: Pairing) -> Tensor:
    if pairing == "half":
        return torch.cat([a, b], dim=-1)
    return torch.stack([a, b], dim=-1).flatten(-2)
