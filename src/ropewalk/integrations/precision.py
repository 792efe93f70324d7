"""The library's own rounding, so that ``native`` reproduces a model to the last digits.

transformers multiplies float32 positions with float32 frequencies even in a float64 model:
at position 8,000 its angles are off by some 1e-4 radians. Every other encoding here is
exact; ``native``, with which an installation is proven, rounds as the library does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ropewalk.core.encoding import Encoding
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryRounding(Frequencies):
    """``exact``, with angles (so cos and sin) in float32.

    shipped  the frequencies in the library's own module, or () to round the exact ones
    """

    exact: Frequencies
    shipped: tuple[float, ...] = ()

    @property
    def geometry(self) -> RopeGeometry:  # type: ignore[override]
        return self.exact.geometry

    def inv_freq(self, context_length: int) -> Tensor:
        if self.shipped:
            return torch.tensor(self.shipped, dtype=torch.float64)
        return self.exact.inv_freq(context_length).float().double()

    def attention_factor(self, context_length: int) -> float:
        return self.exact.attention_factor(context_length)

    def angles(self, positions: Tensor, lengths: int | Tensor) -> Tensor:
        return positions.float()[..., None] * self.theta(positions, lengths).float()

    @property
    def length_dependent(self) -> bool:
        return self.exact.length_dependent

    @property
    def shift_invariant(self) -> bool:
        return self.exact.shift_invariant


def as_shipped(encoding: Encoding, rotaries: Iterable[nn.Module]) -> Encoding:
    """``encoding`` with the library's rounding and, where they say the same, its frequencies."""
    frequencies = encoding.frequencies
    if frequencies is None:
        return encoding
    theta = frequencies.inv_freq(encoding.geometry.trained_length)
    shipped: tuple[float, ...] = ()
    if not frequencies.length_dependent:
        for buffer in (each for module in rotaries for each in module.buffers()):
            if buffer.shape != theta.shape or not buffer.is_floating_point():
                continue
            if torch.allclose(buffer.double().cpu(), theta, rtol=_grain(buffer), atol=0):
                shipped = tuple(buffer.double().tolist())
    return replace(encoding, frequencies=LibraryRounding(exact=frequencies, shipped=shipped))


def _grain(buffer: Tensor) -> float:
    """How far rounding moved its numbers, relative: a model that was once cast to half precision
    rotates by frequencies of half precision, in whatever dtype they are now."""
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(buffer.to(dtype).to(buffer.dtype), buffer):
            return torch.finfo(dtype).eps
    return 2e-6


def exact(encoding: Encoding) -> Encoding:
    """``encoding`` without the library's rounding."""
    frequencies = encoding.frequencies
    if isinstance(frequencies, LibraryRounding):
        return replace(encoding, frequencies=frequencies.exact)
    return encoding
