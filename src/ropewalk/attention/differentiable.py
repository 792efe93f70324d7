"""Fused attention with gradients: one node of autograd over the merged output and log-sum-exp.

Forward keeps the output and the log-sum-exp of each row, and no scores. Backward cuts and rotates
as forward did, asks each share for its gradients under the merged log-sum-exp
(``ropewalk.attention.lse_backward``), adds them up where they were rotated to, and rotates them
back: the adjoint of a rotation turns the other way.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ropewalk.attention.call import Call
from ropewalk.attention.distances import DistanceBias
from ropewalk.attention.fused import FusedPart, Keys, fused_parts, merged_attention
from ropewalk.attention.lse import Partial
from ropewalk.attention.rotary import Rotary, rotated
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiles import Tile
from ropewalk.core.rotation import Turn, work_dtype


def attend_differentiable(
    q: Tensor, k: Tensor, v: Tensor, rotary: Rotary, *, call: Call, softmax: Softmax
) -> Tensor:
    """As ``attend_fused``, with gradients of queries, keys, values, sinks and channel weights.

    Of a bias of the distance too, where ``call.by_diagonals`` says so; others are constants.
    There is no second derivative.
    """
    bias = DistanceBias.of(rotary, call, q)
    numbers, highest = (None, 0) if bias is None else (bias.numbers, bias.highest)
    inputs = (q, k, v, softmax.sinks, rotary.channel_weights, numbers)
    apply: Any = _Attention.apply  # without annotations
    out: Tensor = apply(*inputs, _Setting(rotary, call, softmax, highest))
    return out


class _Setting:
    """What forward and backward share beside tensors of the graph."""

    def __init__(self, rotary: Rotary, call: Call, softmax: Softmax, highest: int) -> None:
        self.rotary, self.call, self.softmax, self._highest = rotary, call, softmax, highest

    def parts(self, q: Tensor, k: Tensor, v: Tensor, numbers: Tensor | None) -> Iterator[FusedPart]:
        bias = None if numbers is None else DistanceBias(numbers, self._highest)
        return fused_parts(q, k, v, self.rotary, call=self.call, softmax=self.softmax, bias=bias)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, setting = inputs
        q, k, v, _, _, numbers = tensors
        found = merged_attention(q, v, setting.parts(q, k, v, numbers))
        ctx.setting = setting
        ctx.save_for_backward(*tensors, found.out, found.lse)
        return found.out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, sinks, weights, numbers, out, lse = ctx.saved_tensors
        whole, setting = Partial(out, lse), ctx.setting
        sums = _Sums(q, k, v, weights, numbers)
        for here in setting.parts(q, k, v, numbers):
            sums.add(here, grad, whole)
        d_sinks = None if sinks is None else _of_sinks(sinks, grad, whole)
        return (*sums.results(), d_sinks, sums.of_weights, sums.of_numbers, None)


def _of_sinks(sinks: Tensor, grad: Tensor, whole: Partial) -> Tensor:
    """A sink takes weight from all values and gives none: ``[h]``."""
    weight = (sinks.to(whole.lse.dtype)[None, :, None] - whole.lse).exp()
    mean = (grad.to(whole.lse.dtype) * whole.out.to(whole.lse.dtype)).sum(dim=-1)
    return -(weight * mean).sum(dim=(0, 2)).to(sinks.dtype)


class _Sums:
    """Gradients of one call, added up part by part in float32 (float64 for float64)."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, weights: Tensor | None, numbers: Tensor | None
    ) -> None:
        self._dtypes = (q.dtype, k.dtype, v.dtype)
        self._weights, wide = weights, work_dtype(q.dtype)
        self._q, self._k, self._v = (torch.zeros_like(x, dtype=wide) for x in (q, k, v))
        self._of_weights = torch.zeros(q.shape[-1], dtype=wide, device=q.device)
        self.of_numbers = None if numbers is None else torch.zeros_like(numbers)

    def results(self) -> tuple[Tensor, ...]:
        """Of queries, keys and values, in their dtypes."""
        found = zip((self._q, self._k, self._v), self._dtypes, strict=True)
        return tuple(x.to(dtype) for x, dtype in found)

    @property
    def of_weights(self) -> Tensor | None:
        """Of the channel weights, None without any."""
        return None if self._weights is None else self._of_weights.to(self._weights.dtype)

    def add(self, here: FusedPart, grad: Tensor, whole: Partial) -> None:
        """``grad``, ``whole``: of all rows of the call."""
        part, first_channel = here.part, here.rotary.first_channel
        keys: dict[int, Keys] = {}
        for shared in part.keys:
            own = self._k[part.batch, :, shared.start : shared.stop]
            keys.update(dict.fromkeys(shared.regions, (torch.zeros_like(own), shared.start)))
        for tile in part.tiles:
            rows = slice(part.first + tile.first, part.first + tile.last)
            merged = Partial(whole.out[part.batch, :, rows], whole.lse[part.batch, :, rows])
            queries = self._add_tile(here, tile, grad[part.batch, :, rows], merged, keys)
            self._q[part.batch, :, rows] = queries
        for shared in part.keys:
            turn = here.call.key_turn(part, shared, first_channel, work_dtype(here.q.dtype))
            own = self._k[part.batch, :, shared.start : shared.stop]
            own += _back(keys[shared.regions[0]][0], turn)

    def _add_tile(
        self, here: FusedPart, tile: Tile, grad: Tensor, whole: Partial, keys: Mapping[int, Keys]
    ) -> Tensor:
        """Gradient of the queries of a tile; those of keys and values are added where they lie."""
        queries = {number: here.queries(tile, number) for number in tile.regions}
        found = {number: torch.zeros_like(x, dtype=self._q.dtype) for number, x in queries.items()}
        for share in here.shares(tile):
            rows = slice(share.first - tile.first, share.last - tile.first)
            mine = Partial(whole.out[:, :, rows], whole.lse[:, :, rows])
            q = queries[share.region][:, :, rows]
            gradients = share.backward(grad[:, :, rows], q, *here.read(share), mine, here.scale)
            found[share.region][:, :, rows] += gradients.q
            own, start = keys[share.region]
            own[:, :, share.start - start : share.stop - start] += gradients.k
            self._v[here.part.batch, :, share.start : share.stop] += gradients.v
            if self.of_numbers is not None and gradients.diagonals is not None:
                count = gradients.diagonals.shape[1]
                self.of_numbers[:, share.number : share.number + count] += gradients.diagonals
        whole_q = torch.zeros_like(here.q[:, :, tile.first : tile.last], dtype=self._q.dtype)
        for number, each in found.items():
            whole_q += self._unturned(here, tile, number, each)
        return whole_q

    def _unturned(self, here: FusedPart, tile: Tile, number: int, grad: Tensor) -> Tensor:
        """What is due to the queries as they came, before rotation and channel weights."""
        turn = here.query_turn(tile, number)
        if self._weights is not None:
            q = rotated(here.q[:, :, tile.first : tile.last], turn)
            self._of_weights += (grad * q).sum(dim=(0, 1, 2))
            grad = grad * self._weights
        return _back(grad, turn)


def _back(x: Tensor, turn: Turn | None) -> Tensor:
    return rotated(x, None if turn is None else turn.adjoint)
