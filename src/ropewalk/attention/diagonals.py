"""Gradients of attention under a bias of the distance, and of the bias: sums along diagonals.

    S = sigma Q K^T + B,  B[i, j] = c[i + j];   dB = dS;   dc[t] = sum of dS[i, j] over i + j = t

Rows are in falling order (``ropewalk.attention.distances``). The rest is as in
``ropewalk.attention.lse_backward``, from plain products in blocks that fit a cache: a fused kernel
keeps dS to itself, and to compute it once more would cost two of its five products. With rows of
numbers one longer than they lie apart, diagonals are columns, so the sums need no index.

Far keys under a steep bias have weights below the least normal number, of which each product
costs a hundred others on x86: in float32 weights below e^-60 count as none.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ropewalk.attention.lse import Partial, by_group
from ropewalk.attention.lse_backward import Gradients, to_keys
from ropewalk.core.rotation import work_dtype

LEAST = {torch.float32: -60.0, torch.float64: -700.0}
"""ln of the least weight that counts."""
NUMBERS = 2**18
"""Scores of a block for each thread: 1 MiB in float32."""
NUMBERS_ELSEWHERE = 2**26
"""Scores of a block on other devices than the CPU."""
MOST_KEYS = 1024
"""Keys of a block."""


def diagonal_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, whole: Partial, *, scale: float, bias: Tensor
) -> Gradients:
    """Gradients of ``attend_lse`` under ``bias`` ``[1, h, m, n]``, as far as these keys go.

    grad   ``[b, h, m, e]``: of the merged output
    whole  merged output and log-sum-exp of these rows, all of which see a key

    In float32, or float64.
    """
    wide = work_dtype(q.dtype)
    grad, k, v = (x.to(wide) for x in (grad, k, v))
    q = q.to(wide) * scale
    mean = (grad * whole.out.to(wide)).sum(dim=-1, keepdim=True)
    lse = whole.lse.to(wide)[..., None]
    d_q, d_k, d_v = (torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    diagonals = q.new_zeros(q.shape[1], q.shape[2] + k.shape[2] - 1)
    room, least = _Room(), LEAST[wide]
    for batch, heads, groups, keys in _blocks(q, k):
        rows, own = (batch, heads), (batch, groups, keys)
        weights = by_group(q[rows], k[own].transpose(-1, -2))
        weights += bias[:, heads, :, keys]
        weights -= lse[rows]
        # The exponential of minus infinity, too, costs ten of a number's.
        torch.threshold_(weights.clamp_(min=least - 1).exp_(), math.exp(least), 0.0)
        d_v[own] += to_keys(weights, grad[rows], k[own])
        d_weights = by_group(grad[rows], v[own].transpose(-1, -2))
        d_scores = room.of(weights)
        torch.mul(d_weights.sub_(mean[rows]), weights, out=d_scores)
        d_q[rows] += by_group(d_scores, k[own])
        d_k[own] += to_keys(d_scores, q[rows], k[own])
        sums = room.diagonals()
        diagonals[heads, keys.start : keys.start + sums.shape[1]] += sums
    return Gradients(d_q * scale, d_k, d_v, diagonals)


class _Room:
    """Numbers ``[b, h, m, n]`` that lie m + n apart from row to row, with zeros between."""

    def __init__(self) -> None:
        self._numbers: Tensor | None = None
        self._keys = 0

    def of(self, like: Tensor) -> Tensor:
        """For numbers of that shape."""
        shape = (*like.shape[:3], like.shape[2] + like.shape[3])
        if self._numbers is None or self._numbers.shape != shape:
            self._numbers = like.new_zeros(shape)
        return self._numbers[..., : like.shape[3]]

    def diagonals(self) -> Tensor:
        """Sums ``[h, m + n - 1]`` of numbers i, j over i + j and the batch."""
        assert self._numbers is not None  # or nothing was written
        batch, heads, rows, apart = self._numbers.shape
        far, near, _, _ = self._numbers.stride()
        shear = self._numbers.as_strided((batch, heads, rows, apart - 1), (far, near, apart - 1, 1))
        return shear.sum(dim=(0, 2))


def _blocks(q: Tensor, k: Tensor) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Batch rows, heads, their groups, and keys."""
    batch, heads, rows, _ = q.shape
    groups, count = k.shape[1:3]
    most = NUMBERS * torch.get_num_threads() if q.device.type == "cpu" else NUMBERS_ELSEWHERE
    width = min(count, MOST_KEYS)
    alone = max(1, most // (rows * width))
    sequences = max(1, alone // heads)
    for first in range(0, batch, sequences):
        for own, group in _head_runs(heads, groups, alone):
            for start in range(0, count, width):
                keys = slice(start, min(start + width, count))
                yield slice(first, first + sequences), own, group, keys


def _head_runs(heads: int, groups: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Runs of about ``most`` heads, and the groups that they read: whole groups or part of one."""
    each = heads // groups
    width = most // each * each if most >= each else most
    first = 0
    while first < heads:
        end = heads if most >= each else (first // each + 1) * each
        last = min(first + width, end)
        yield slice(first, last), slice(first // each, -(-last // each))
        first = last
