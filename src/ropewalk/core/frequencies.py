"""Frequencies: how fast each pair of channels rotates, and how long its vector is made."""

from abc import ABC, abstractmethod
from enum import Enum

import torch
from torch import Tensor

from ropewalk.core.geometry import RopeGeometry


class Side(Enum):
    """Which vector of a product a wave is for."""

    QUERY = "query"
    KEY = "key"


class Frequencies(ABC):
    """theta_i(L) and the complex wave of a position. Pure; float64.

        wave(p, L) = size(p, L) * exp(i * angle(p, L)),    angle(p, L) = p * theta(L)

    A final subclass is a frozen dataclass whose first field is ``geometry``. L is a context
    length in tokens (largest position + 1). Contract: everything is constant for L <= trained
    length.
    """

    geometry: RopeGeometry

    @abstractmethod
    def inv_freq(self, context_length: int) -> Tensor:
        """theta: radians a token of each pair, float64 ``[f]``, at context length L."""

    def attention_factor(self, context_length: int) -> float:
        """The size of both waves, so the rotary part of a logit is multiplied by its square."""
        return 1.0

    def angles(self, positions: Tensor, lengths: int | Tensor) -> Tensor:
        """Radians ``[..., f]`` at real-valued positions ``[...]``.

        lengths  L: one for all positions, or int64 of the shape of ``positions``
        """
        return positions.double()[..., None] * self.theta(positions, lengths)

    def size(self, positions: Tensor, lengths: int | Tensor, side: Side) -> float | Tensor:
        """Magnitude of the wave: a number, or float64 that broadcasts with ``[..., f]``."""
        if isinstance(lengths, int):
            return self.attention_factor(lengths)
        distinct, which = torch.unique(lengths, return_inverse=True)
        factors = [self.attention_factor(length) for length in distinct.tolist()]
        table = torch.tensor(factors, dtype=torch.float64).to(positions.device)
        return table[which][..., None]

    def wave(self, positions: Tensor, lengths: int | Tensor, side: Side) -> Tensor:
        """Complex ``[..., f]``: what multiplies each pair of a query or key at ``positions``."""
        angles, size = self.angles(positions, lengths), self.size(positions, lengths, side)
        size = size if isinstance(size, float) else size.to(angles.dtype)
        return torch.complex(angles.cos() * size, angles.sin() * size)

    def theta(self, positions: Tensor, lengths: int | Tensor) -> Tensor:
        """``inv_freq`` of each position's L, ``[f]`` or ``[..., f]``, on their device."""
        if isinstance(lengths, int):
            return self.inv_freq(lengths).to(positions.device)
        distinct, which = torch.unique(lengths, return_inverse=True)
        rows = [self.inv_freq(length) for length in distinct.tolist()]
        return torch.stack(rows).to(positions.device)[which]

    @property
    def length_dependent(self) -> bool:
        """Whether theta or the size changes with L."""
        return False

    @property
    def tile_rows(self) -> int | None:
        """How many rows may share one origin of positions; None where any may.

        Where the size changes with the position, positions far from their origin leave the
        range of small floating-point formats.
        """
        return None

    @property
    def shift_invariant(self) -> bool:
        """Whether adding one constant to all positions leaves every score as it was."""
        return True
