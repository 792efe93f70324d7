"""Proportional RoPE as a method."""

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.proportional import Proportional
from ropewalk.methods.method import ROTATION, Method
from ropewalk.methods.policies import static_encoding


def proportional(
    geometry: RopeGeometry, *, partial_rotary_factor: float, factor: float = 1.0
) -> Encoding:
    """Only the fastest share of the pairs rotates; the others stand still.

    partial_rotary_factor  the share
    factor                 divides the frequencies that are left

    Source: Barbero et al. 2024, Round and Round We Go!, arXiv:2410.06205 (p-RoPE); Gemma 4.
    """
    return static_encoding(
        geometry,
        Proportional(
            geometry=geometry,
            partial_rotary_factor=partial_rotary_factor,
            factor=factor,
        ),
    )


PROPORTIONAL = Method(
    build=proportional,
    summary="only the fastest share of the pairs rotates",
    promises=ROTATION,
)
