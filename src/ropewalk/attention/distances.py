"""Biases of the distance alone, without a number for each pair.

A matrix whose entry is a function of row minus key is constant along its diagonals: with its rows
in falling order, entry (i, j) is number i + j of one vector, so the matrix is a view of it whose
rows overlap. A kernel that reads masks by their strides needs no more than the vector, 4 h (m + n)
bytes for a piece of m rows and n keys.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ropewalk.attention.rotary import Rotary
from ropewalk.core.score_mods import Block


def falling_bias(
    rotary: Rotary,
    block: Block,
    dtype: torch.dtype,
    *,
    lowest: int | None = None,
    highest: int | None = None,
) -> Tensor | None:
    """What is added to the scores of a block whose rows are read from last to first.

    lowest, highest  distances beyond are not seen

    ``[1, h, m, n]`` of ``dtype``; None where indices do not count on, or differ in the batch.
    """
    if not (_counts_on(block.rows[..., 0]) and _counts_on(block.keys[:, 0])):
        return None
    rows, keys = block.rows[0, :, 0], block.keys[0, 0]
    count = len(rows) + len(keys) - 1
    falling = rows[-1] - keys[0] - torch.arange(count, device=rows.device)
    by_distance = replace(block, rows=falling[None, :, None], keys=keys.new_zeros(1, 1, 1))
    bias = rotary.bias(by_distance)
    assert bias is not None  # or the encoding would not be biased by the distance
    vector = bias[0, :, :, 0].to(dtype)
    if lowest is not None:
        vector = vector.masked_fill(falling < lowest, float("-inf"))
    if highest is not None:
        vector = vector.masked_fill(falling > highest, float("-inf"))
    view = vector.contiguous().as_strided((1, len(vector), len(rows), len(keys)), (0, count, 1, 1))
    return view if view.device.type == "cpu" else view.contiguous()


def _counts_on(index: Tensor) -> bool:
    """Whether each row of ``[b, i]`` is the same run of numbers."""
    return bool((index.diff(dim=-1) == 1).all()) and bool((index == index[:1]).all())
