"""Loss in chunks: the logits of a long sequence are never held at once.

At 16,384 tokens and 49,152 entries float32 logits alone take 3.2 GB.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_ROWS = 512


def token_losses(hidden: Tensor, targets: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """Negative log-likelihood in nats of ``targets`` ``[n]``, float64 ``[n]``.

    hidden  ``[n, width]``: row i predicts targets[i]
    head    maps ``[rows, width]`` to logits ``[rows, vocabulary]``, row by row
    """
    losses = [
        _cross_entropy(
            head(hidden[start : start + CHUNK_ROWS]), targets[start : start + CHUNK_ROWS]
        )
        for start in range(0, len(targets), CHUNK_ROWS)
    ]
    return torch.cat(losses) if losses else targets.new_zeros(0, dtype=torch.float64)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    if logits.dtype != torch.float64:
        logits = logits.float()
    return functional.cross_entropy(logits, targets, reduction="none").double()
