"""How far a position map has to carry a checkpoint."""

import math

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.checks import check_factor


def served_length(geometry: RopeGeometry, factor: float | None, instead_of: str) -> int:
    """factor * L0 in tokens, rounded up.

    instead_of  ``method:parameter`` that the factor replaces

    Raises RopewalkError without a factor or with one below 1.
    """
    if factor is None:
        method, _, parameter = instead_of.partition(":")
        raise RopewalkError(
            f"{method} without {parameter}: expected for example {method}:{parameter}=8, or "
            "factor=4 for the smallest that reaches 4 times the trained length"
        )
    check_factor(factor)
    return math.ceil(factor * geometry.trained_length)
