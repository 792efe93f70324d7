"""Score modifications: what is done to a logit besides turning query and key."""

import torch
from torch import Tensor


class ScoreMod:
    """tau(m) and bias_h(m, n) from true indices. Pure; float64. Both parts are optional."""

    def query_scale(self, rows: Tensor) -> Tensor:
        """tau, same shape as ``rows`` (true indices m): multiplies the row's logits."""
        return torch.ones_like(rows, dtype=torch.float64)

    def bias(self, heads: int, rows: Tensor, keys: Tensor) -> Tensor | None:
        """Added to the logits: ``[heads, *broadcast(rows, keys)]``, or None for no bias."""
        return None
