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
    length = int(lengths.flatten()[0])
    if bool((lengths != length).any()):
        return frequencies.angles_each(positions, lengths)
    angles = frequencies.angles(positions, length)
    return angles, torch.full_like(angles[..., :1], frequencies.attention_factor(length))
