"""What rows may see, and what a region covers, as consecutive key indices of each row."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.attention.tiles import Band
from ropewalk.core.regions import Region
from ropewalk.core.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """Keys ``start <= n < stop`` that each row may see: indices, int64 ``[b or 1, m]``."""

    start: Tensor
    stop: Tensor

    @classmethod
    def of(cls, rows: Rows, strip_rows: int) -> "Visible | None":
        """As the rows say it, else from their masks; None where a row's keys have gaps."""
        if rows.visible is not None:
            return cls(*rows.visible)
        queries = rows.query_index.shape[1]
        strips = []
        for first in range(0, queries, strip_rows):
            last = min(first + strip_rows, queries)
            strip = _strip(rows, first, last)
            if strip is None:
                return None
            strips.append(strip)
        batch = max(len(start) for start, _ in strips)
        joined = (
            torch.cat([each[side].expand(batch, -1) for each in strips], dim=1) for side in (0, 1)
        )
        return cls(*joined)

    def of_sequence(self, number: int, first: int, last: int) -> "Visible":
        """Of the rows ``first .. last - 1`` of one sequence of the batch, ``[m]``."""
        number = number if len(self.start) > 1 else 0
        return Visible(self.start[number, first:last], self.stop[number, first:last])


def region_bands(
    regions: Sequence[Region], queries: Tensor, keys: Tensor, visible: Visible
) -> tuple[Band, ...] | None:
    """Visible keys of each region, for one sequence; None where a bound falls.

    queries, keys  index ``[m]`` and ``[n]``
    visible        what the rows may see, ``[m]``
    """
    covered = torch.stack([bound for region in regions for bound in region.key_bounds(queries)])
    bounds = torch.searchsorted(keys.contiguous(), covered)
    starts = torch.maximum(bounds[0::2], visible.start)
    stops = torch.maximum(torch.minimum(bounds[1::2], visible.stop), starts)
    falls = [bool((bound.diff(dim=-1) < 0).any()) for bound in (keys, starts, stops)]
    return None if any(falls) else tuple(map(Band, starts, stops))


def _strip(rows: Rows, first: int, last: int) -> tuple[Tensor, Tensor] | None:
    """Start and stop ``[b or 1, last - first]`` of what rows may see; None for gaps in a row."""
    stop, mask = rows.allowed(first, last)
    count = last - first
    if mask is None:
        start = rows.query_index.new_zeros(1, count)
        return start, torch.full_like(start, stop)
    mask = mask[(None,) * (4 - mask.ndim)]
    if mask.shape[1] != 1:
        return None
    found = _runs_of_true(mask.expand(-1, -1, count, stop).reshape(-1, stop))
    return None if found is None else (found[0].view(-1, count), found[1].view(-1, count))


def _runs_of_true(mask: Tensor) -> tuple[Tensor, Tensor] | None:
    """Start and stop ``[r]`` of the one run of True in each row; None if a row has several.

    A row without any starts and stops at 0.
    """
    rows, keys = mask.shape
    width = -(keys + 1) % 8 + keys + 1
    padded = functional.pad(mask, (1, width - keys))
    flips = padded[:, 1:] != padded[:, :-1]
    # Eight at once: nearly all are zero.
    row, word = flips.view(torch.int64).nonzero().unbind(dim=1)
    found, byte = flips.view(rows, -1, 8)[row, word].nonzero().unbind(dim=1)
    row, key = row[found], word[found] * 8 + byte
    count = torch.bincount(row, minlength=rows)
    if bool((count > 2).any()):
        return None
    start, stop = torch.zeros(2, rows, dtype=torch.long, device=mask.device)
    start[row[0::2]], stop[row[1::2]] = key[0::2], key[1::2]
    return start, stop
