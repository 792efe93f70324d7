"""At which L keys are turned that are kept for many rows.

Where L lasts, that is L itself. Where it changes every few rows, the lengths above L0 are cut into
spans, and keys are turned at the middle of the row's span, the anchor; what L differs from it is
made up for in the query (``ropewalk.attention.series``). An anchor is a function of L alone: what
is computed does not depend on when keys were first kept.
"""

import torch
from torch import Tensor

from ropewalk.attention.series import reaches
from ropewalk.core.encoding import Encoding
from ropewalk.core.rows import Rows

LASTING_ROWS = 8
"""Rows of one L that are worth keys turned at this very L: turning all costs half a step or more,
and a series a tenth of one."""
SPANS = (64, 16, 4)
"""Lengths that share an anchor, the first for which a series does: the more, the longer series
become; the fewer, the more often all keys are turned anew."""


def anchors(rows: Rows, encoding: Encoding, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
    """L and anchor of calls of one row a sequence, int64 ``[b]`` each.

    None where L neither lasts nor changes so little that a series in ``dtype`` would do.
    """
    positions, ends = rows.length_positions[:, -1:], rows.sequence_lengths[:, None]
    around = torch.arange(1 - LASTING_ROWS, LASTING_ROWS, device=positions.device)
    near = encoding.row_lengths(
        (positions + around).flatten()[:, None], (ends + around).flatten()
    ).view(len(positions), -1)
    lengths = near[:, LASTING_ROWS - 1]
    lasting = ((near == lengths[:, None]).sum(dim=-1) >= LASTING_ROWS).tolist()
    found = [
        length if lasts else _anchor(encoding, length, dtype)
        for length, lasts in zip(lengths.tolist(), lasting, strict=True)
    ]
    if None in found:
        return None
    return lengths, torch.tensor(found, device=lengths.device)


def _anchor(encoding: Encoding, length: int, dtype: torch.dtype) -> int | None:
    """The middle of the span around ``length``."""
    frequencies, trained = encoding.frequencies, encoding.geometry.trained_length
    for span in SPANS:
        start = trained + (length - trained - 1) // span * span
        middle = start + span // 2
        theta = frequencies.inv_freq(middle)
        ends = (frequencies.inv_freq(end) for end in (start + 1, start + span))
        spread = max(float((end - theta).abs().max()) for end in ends)
        if reaches(spread, dtype):
            return middle
    return None
