"""The last row of a context: the one that sees farthest."""

import torch

from ropewalk.core.encoding import Encoding


def last_row_length(encoding: Encoding, length: int) -> int:
    """L that the last of ``length`` rows sees when all are computed in one call."""
    row, total = torch.tensor([[length - 1]]), torch.tensor([length])
    return int(encoding.row_lengths(row, total).item())
