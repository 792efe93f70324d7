"""Resonance RoPE as a method: alone, or over the part that sets the frequencies."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.resonance import Resonance
from ropewalk.frequencies.unscaled import Unscaled
from ropewalk.methods.method import ROTATION, Method
from ropewalk.methods.policies import static_encoding


def resonance(geometry: RopeGeometry) -> Encoding:
    """Wavelengths rounded to whole tokens; ``resonance+yarn:factor=8`` is Resonance YaRN.

    Source: Wang et al. 2024, Resonance RoPE, arXiv:2403.00071.
    """
    scheduled = Unscaled(geometry=geometry)
    return static_encoding(geometry, Resonance(geometry=geometry, scheduled=scheduled))


RESONANCE = Method(
    build=resonance,
    summary="wavelengths are whole numbers of tokens",
    promises=ROTATION,
)
