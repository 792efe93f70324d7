"""Biases that are a function of the distance alone: worked out once for each distance."""

from torch import Tensor
from torch.nn import functional


def looked_up(table: Tensor, index: Tensor) -> Tensor:
    """``table`` ``[i, h]`` at ``index`` ``[b or 1, m, n]`` -> ``[b or 1, h, m, n]``."""
    return functional.embedding(index, table).movedim(-1, 1)


def gathered(scores: Tensor, index: Tensor) -> Tensor:
    """``scores`` ``[b, h, m, i]`` at ``index`` ``[b or 1, m, n]`` -> ``[b, h, m, n]``."""
    return scores.gather(-1, index[:, None].expand(*scores.shape[:-1], index.shape[-1]))
