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
from ropewalk.attention.tiles import Shape
from ropewalk.core.rotation import work_dtype
from ropewalk.core.score_mods import Block


def falling_bias(rotary: Rotary, block: Block, shape: Shape) -> Tensor | None:
    """What is added to the scores of a block whose rows are read from last to first.

    ``[1, h, m, n]``, minus infinity where ``shape`` says that a pair is not seen; None where
    indices are not consecutive or pairs are ragged.
    """
    rows, keys = block.rows[0, :, 0], block.keys[0, 0]
    if shape is Shape.RAGGED or not (_counts_on(rows) and _counts_on(keys)):
        return None
    farthest, corner = int(rows[-1] - keys[0]), int(rows[0] - keys[0])
    count = len(rows) + len(keys) - 1
    falling = farthest - torch.arange(count, device=rows.device)
    by_distance = replace(block, rows=falling[None, :, None], keys=keys.new_zeros(1, 1, 1))
    bias = rotary.bias(by_distance)
    assert bias is not None  # or the encoding would not be biased by the distance
    vector = bias[0, :, :, 0].to(work_dtype(block.q.dtype))
    if shape is Shape.GROWING:
        vector = vector.masked_fill(falling < corner, float("-inf"))
    elif shape is Shape.SHRINKING:
        vector = vector.masked_fill(falling > corner, float("-inf"))
    view = vector.contiguous().as_strided((1, len(vector), len(rows), len(keys)), (0, count, 1, 1))
    return view if view.device.type == "cpu" else view.contiguous()


def _counts_on(index: Tensor) -> bool:
    return bool((index.diff() == 1).all())
