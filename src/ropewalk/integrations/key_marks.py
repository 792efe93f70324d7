"""One number for each key of a cache, by which a changed key is seen.

    mark_n = sum_d r_d k_nd

r is a fixed vector that acts as a query would: a change of a key that no mark shows is below the
rounding of a score.
"""

import torch
from torch import Tensor


def marks_of(keys: Tensor) -> Tensor:
    """``[b, g, n, d]`` -> ``[b, g, n]``."""
    return keys @ marking(keys)


def marking(keys: Tensor) -> Tensor:
    """r ``[d]``, between 1/2 and 3/2: no two channels weigh the same."""
    channels = torch.arange(keys.shape[-1], device=keys.device, dtype=torch.float64)
    return (channels * 0.6180339887498949 % 1 + 0.5).to(keys.dtype)


def rows_of(keys: Tensor, before: Tensor, facts: Tensor) -> Tensor | None:
    """Which sequence of ``before`` each one of ``keys`` is, int64 ``[b]``, by their first keys.

    facts  ``[b, ...]``: what is known of each of ``before``; those that look the same must agree

    None where one is not among them, or may be two of which other things are known.
    """
    count = min(keys.shape[2], before.shape[2])
    now, then = (marks_of(each[:, :, :count]).to(facts.device) for each in (keys, before))
    same = (now[:, None] == then[None]).flatten(2).all(dim=-1)
    for candidates in same:
        known = facts[candidates]
        if not len(known) or bool((known != known[:1]).any()):
            return None
    return same.int().argmax(dim=1)
