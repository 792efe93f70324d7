"""Shares of attention: what one call of a fused kernel computes, and its gradients.

A kernel knows a few shapes of masks. A causal edge that falls is read backwards, so that it rises;
a bias of the distance is read with falling rows, so that it is a view of one vector
(``ropewalk.attention.distances``).
"""

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from ropewalk.attention.diagonals import diagonal_backward
from ropewalk.attention.lse import Partial, Seen, attend_lse
from ropewalk.attention.lse_backward import Gradients, attend_lse_backward


class Order(Enum):
    """In which order a kernel reads."""

    RISING = "rows and keys from first to last"
    FALLING_ROWS = "rows from last to first"
    FALLING = "rows and keys from last to first"

    def rows(self, x: Tensor) -> Tensor:
        """``[b, h, m, .]`` or ``[b, h, m]`` in this order, or back from it."""
        return x if self is Order.RISING else x.flip(2)

    def keys(self, x: Tensor) -> Tensor:
        """``[b, g, n, .]`` in this order, or back from it."""
        return x.flip(2) if self is Order.FALLING else x


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """Rows ``first .. last - 1`` over keys ``start .. stop - 1`` of one region.

    seen, bias  as in ``attend_lse``, in ``order``; a bias is of the distance
    number      of ``DistanceBias.numbers``, at which the bias starts
    """

    region: int
    first: int
    last: int
    start: int
    stop: int
    seen: Seen | Tensor = Seen.ALL
    bias: Tensor | None = None
    number: int = 0
    order: Order = Order.RISING

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Partial:
        """Of these rows' rotated queries and these keys, ``[b, h, m, .]`` and ``[b, g, n, .]``."""
        order = self.order
        partial = attend_lse(
            order.rows(q),
            order.keys(k),
            order.keys(v),
            scale=scale,
            seen=self.seen,
            bias=self.bias,
        )
        return Partial(order.rows(partial.out), order.rows(partial.lse))

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, whole: Partial, scale: float
    ) -> Gradients:
        """Gradients of the same, from that of the output of all shares together.

        grad, whole  of these rows, merged over everything that they see
        """
        order = self.order
        grad, q, k, v = order.rows(grad), order.rows(q), order.keys(k), order.keys(v)
        whole = Partial(order.rows(whole.out), order.rows(whole.lse))
        if self.bias is None:
            found = attend_lse_backward(grad, q, k, v, whole, scale=scale, seen=self.seen)
        else:
            found = diagonal_backward(grad, q, k, v, whole, scale=scale, bias=self.bias)
        own = order.rows(found.q), order.keys(found.k), order.keys(found.v)
        return Gradients(*own, found.diagonals)
