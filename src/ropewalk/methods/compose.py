"""Composition: encodings joined by + in a spec become one encoding.

Frequencies, position map and score modifications are independent axes, so each part may bring
what the others leave as in plain RoPE. Two parts on one axis contradict each other, except for
score modifications, whose scales multiply and whose biases add.
"""

from collections.abc import Sequence

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.unscaled import none

NamedEncoding = tuple[str, Encoding]


def compose(geometry: RopeGeometry, parts: Sequence[NamedEncoding]) -> Encoding:
    """The encoding that has every part's change to plain RoPE.

    parts  (name, encoding) over the same geometry, at least one

    Raises RopewalkError where two parts set the frequencies or two set the position map.
    """
    plain = none(geometry)
    scaled = [p for p in parts if p[1].frequencies != plain.frequencies]
    mapped = [p for p in parts if p[1].position_map != plain.position_map]
    timed = _one(scaled, "the frequencies", plain)
    return Encoding(
        geometry=geometry,
        frequencies=timed.frequencies,
        length_policy=timed.length_policy,
        position_map=_one(mapped, "the position map", plain).position_map,
        score_mods=tuple(mod for _, encoding in parts for mod in encoding.score_mods),
    )


def _one(setters: list[NamedEncoding], axis: str, plain: Encoding) -> Encoding:
    if len(setters) > 1:
        names = " and ".join(name for name, _ in setters)
        raise RopewalkError(f"{names} both set {axis}: expected at most one part to; drop one")
    return setters[0][1] if setters else plain
