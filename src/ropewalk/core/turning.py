"""Angles and attention factors of many rows that may each see another context length."""

import torch
from torch import Tensor

from ropewalk.core.encoding import Encoding
from ropewalk.core.rotation import rotate


def turn(
    x: Tensor, positions: Tensor, lengths: Tensor, encoding: Encoding, first_channel: int = 0
) -> Tensor:
    """``x`` ``[b, h, m, d]`` turned at ``positions`` ``[b, m]`` under L ``lengths`` ``[b, m]``."""
    angles, factor = turns(positions, lengths, encoding)
    return rotate(
        x,
        angles[:, None],
        pairing=encoding.geometry.pairing,
        first_channel=first_channel,
        factor=factor[:, None],
    )


def turns(positions: Tensor, lengths: Tensor, encoding: Encoding) -> tuple[Tensor, Tensor]:
    """Angles float64 ``[b, m, f]`` and attention factors float64 ``[b, m, 1]``."""
    frequencies = encoding.frequencies
    distinct = torch.unique(lengths).tolist()
    if len(distinct) == 1:
        angles = frequencies.angles(positions, distinct[0])
        factor = frequencies.attention_factor(distinct[0])
        return angles, torch.full_like(angles[..., :1], factor)
    pairs = len(frequencies.inv_freq(distinct[0]))
    angles = torch.empty(*positions.shape, pairs, dtype=torch.float64, device=positions.device)
    factors = torch.empty_like(angles[..., :1])
    for length in distinct:
        here = lengths == length
        angles[here] = frequencies.angles(positions[here], length)
        factors[here] = frequencies.attention_factor(length)
    return angles, factors
