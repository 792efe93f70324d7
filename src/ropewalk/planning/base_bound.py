"""The smallest base with which rotary attention can tell similar tokens at a distance.

    B(m) = sum over pairs of cos(m theta_i)        held where B(m) >= 0 for every m below the length
    b(N) = 0.0424 N^1.628                          the published fit of the smallest such base

B(m) is how much more attention a key like the query gets at distance m than any other key: where
it is negative, less. A base below the bound reads long texts by loss and cannot retrieve from them.

N  tokens

Source: Men et al. 2024, Base of RoPE Bounds Context Length, arXiv:2405.14591, theorem 1 and
    figure 1 (head_dim 128).
Deviation: none. What a checkpoint's own frequencies hold to is computed from them, pair by pair.
"""

import torch
from torch import Tensor

_CHUNK = 2**14
_LARGEST_SUM = 2**24
"""Cosines that are taken at most: 262,144 distances of 64 pairs, in a tenth of a second."""


def base_bound(length: int) -> float:
    """The published lower bound of the base for a context of ``length`` tokens."""
    return float(0.0424 * length**1.628)


def looked_to(inv_freq: Tensor, length: int) -> int:
    """Distances below ``length`` that ``holds_to`` looks at."""
    return min(length, _LARGEST_SUM // max(len(inv_freq), 1))


def holds_to(inv_freq: Tensor, length: int) -> int | None:
    """The first distance at which B is negative; None where there is none up to ``looked_to``."""
    theta, last = inv_freq.float(), looked_to(inv_freq, length)
    for start in range(0, last, _CHUNK):
        distances = torch.arange(start, min(start + _CHUNK, last), dtype=torch.float32)
        below = (torch.outer(distances, theta).cos_().sum(dim=-1) < 0).nonzero()
        if len(below):
            return start + int(below[0])
    return None
