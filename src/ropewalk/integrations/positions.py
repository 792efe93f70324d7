"""Positions of tokens in a batch: their own, and those that a caller may give."""

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError

UNMASKED_PACKING = (
    "position_ids that start again, with a key cache, a mask or both ways to look: expected one "
    "sequence a row; call a causal model with use_cache=False and no mask, or unpack the batch"
)
"""The library masks packed sequences apart only where it is given neither mask nor cache."""


TEXT_ALONE = "as those of an image: expected text alone; remove the extension for other input"


def own_positions(
    padding: Tensor | None, batch: int, length: int, device: torch.device | str
) -> Tensor:
    """Position ``[b, length]`` of each cache index among its sequence's real tokens.

    An index beyond the padding mask (an empty slot of a static cache) counts on.
    """
    if padding is None:
        return torch.arange(length, device=device).expand(batch, length)
    return (padded_to(padding.to(device), length).long().cumsum(dim=-1) - 1).clamp(min=0)


def padded_to(padding: Tensor, length: int) -> Tensor:
    """The mask of ``length`` cache indices; those beyond it are real."""
    missing = length - padding.shape[1]
    if missing <= 0:
        return padding[:, :length]
    return torch.cat([padding, padding.new_ones(len(padding), missing)], dim=-1)


def one_axis(position_ids: Tensor) -> Tensor:
    """``[b, m]`` of positions ``[b, m]``, or of ``[axes, b, m]`` that agree.

    Families for images and videos count positions along several axes, which text moves alike.
    """
    if position_ids.ndim == 1:
        return position_ids[None]
    if position_ids.ndim == 2:
        return position_ids
    if not bool((position_ids == position_ids[:1]).all()):
        raise RopewalkError(f"position_ids that differ from axis to axis, {TEXT_ALONE}")
    return position_ids[0]


def restarts(position_ids: Tensor, real: Tensor | None) -> Tensor:
    """Bool ``[b, m - 1]``: where a sequence starts again, padding apart."""
    again = position_ids.diff(dim=-1) < 0
    if real is None:
        return again
    return again & real[:, 1:] & real[:, :-1]
