"""The table of absolute positions that is added to embeddings.

    PE(m, 2i) = sin(m / 10000^(2i / d)),   PE(m, 2i + 1) = cos(m / 10000^(2i / d))

Source: Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762, section 3.5.
Deviation: none.
"""

import torch

from ropewalk.analysis.case import LARGEST_TABLE, Record, at_most
from ropewalk.core.errors import RopewalkError


def sinusoidal(width: int, length: int) -> Record:
    """``table`` ``[position][channel]``.

    Raises RopewalkError for an odd width, and for a table that is too large to show.
    """
    if width < 2 or width % 2:
        raise RopewalkError(f"width={width}: expected an even number of channels, at least 2")
    at_most(length, LARGEST_TABLE // width)
    speeds = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * speeds
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return {"plot": "sinusoidal", "width": width, "context_length": length, "table": table.tolist()}
