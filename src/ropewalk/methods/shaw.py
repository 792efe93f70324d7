"""Relative keys and values as a method."""

from dataclasses import replace
from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.method import Method, Promise
from ropewalk.methods.policies import static_encoding
from ropewalk.scores.shaw import ShawKeys, ShawValues


def shaw(
    geometry: RopeGeometry,
    *,
    max_relative_position: int = 64,
    tables: Literal["keys", "keys_and_values"] = "keys_and_values",
) -> Encoding:
    """A learned vector of the clipped distance is added to each key, and to each value.

    max_relative_position  distances beyond look alike
    tables                 ``keys``: nothing is added to values

    Source: Shaw et al. 2018, arXiv:1803.02155.
    """
    values = ShawValues(max_relative_position=max_relative_position)
    return replace(
        static_encoding(geometry, None),
        learned=(ShawKeys(max_relative_position=max_relative_position),),
        value_terms=(values,) if tables == "keys_and_values" else (),
    )


SHAW = Method(
    build=shaw,
    summary="learned vectors of the clipped distance in keys and values",
    promises=frozenset({Promise.ONE_MAP, Promise.ROTATES_NOTHING, Promise.TRAINED}),
)
