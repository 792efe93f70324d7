"""The distance that each pair of tokens is shown."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ropewalk.analysis.case import Case, Record
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.regions import Identity, Region

CELLS = 256
"""Rows and columns of a matrix at most; of a longer context evenly spread ones are shown."""
LARGEST_MAPPED_LENGTH = 2**24


def relative_positions(encoding: Encoding, length: int) -> Tensor:
    """The distance that each pair of tokens sees: float64 ``[m, n]``, NaN above the diagonal."""
    index = torch.arange(length)
    return _shown(encoding.position_map.regions, index[:, None], index[None, :])


def distances(case: Case) -> Record:
    """The distance between tokens, and where the regions of each map begin and end.

    ``rows`` and ``keys`` are the tokens shown, at most 256 of them. For each method ``matrix``
    ``[row][key]`` (None above the diagonal), the ``largest`` of them, and the ``regions``' bands:
    keys ``start <= n < stop`` of each row.
    """
    tokens = _spread(case.context_length)
    shown = tokens.tolist()
    return {"rows": shown, "keys": shown, "methods": case.each(partial(_between, tokens))}


def largest_distance(encoding: Encoding, length: int) -> float:
    """Largest distance shown to key 0, which every map shows as far as any other key.

    Raises RopewalkError for a map over more than 2^24 tokens.
    """
    if encoding.position_map == Identity():
        return float(length - 1)
    if length > LARGEST_MAPPED_LENGTH:
        raise RopewalkError(
            f"context_length={length} with a position map: expected at most "
            f"{LARGEST_MAPPED_LENGTH} tokens; give a shorter length"
        )
    rows, key = torch.arange(length), torch.tensor([0])
    shown = [
        (region.query_positions(rows) - region.key_positions(key))[region.covers(rows, key)]
        for region in encoding.position_map.regions
    ]
    return float(torch.cat(shown).max())


def _spread(length: int) -> Tensor:
    """All tokens, or evenly spread ones with both ends."""
    if length <= CELLS:
        return torch.arange(length)
    return torch.linspace(0, length - 1, CELLS, dtype=torch.float64).round().long()


def _between(tokens: Tensor, encoding: Encoding) -> Record:
    regions = encoding.position_map.regions
    matrix = _shown(regions, tokens[:, None], tokens[None, :])
    return {
        "largest": matrix.nan_to_num(0).max().item(),
        "matrix": _with_gaps(matrix),
        "regions": [_band(region, tokens) for region in regions],
    }


def _shown(regions: Sequence[Region], rows: Tensor, keys: Tensor) -> Tensor:
    """Distance of each pair, NaN above the diagonal."""
    shown = torch.full((rows - keys).shape, math.nan, dtype=torch.float64)
    for region in regions:
        difference = region.query_positions(rows) - region.key_positions(keys)
        shown = torch.where(region.covers(rows, keys) & (keys <= rows), difference, shown)
    return shown


def _band(region: Region, rows: Tensor) -> dict[str, list[int]]:
    start, stop = region.key_bounds(rows)
    stop = torch.minimum(stop, rows + 1)
    return {"start": torch.minimum(start, stop).tolist(), "stop": stop.tolist()}


def _with_gaps(matrix: Tensor) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]
