"""Composition: encodings joined by + in a spec become one encoding.

Rotation, position map and what is done to scores, values and embeddings are independent axes, so
each part may bring what the others leave as they are. Two parts on one axis contradict each other,
except for what adds up: scales of a row multiply, biases add. A part that modifies frequencies
(clipped, resonance) does so over those that another part sets.

A part that only scales scores (log_n, temperature) keeps the rotation of the others, even none.
"""

from collections.abc import Sequence
from dataclasses import replace

from ropewalk.core.encoding import Encoding, ValueRotation
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.modified import ModifiedFrequencies
from ropewalk.methods.unscaled import none

NamedEncoding = tuple[str, Encoding]


def compose(geometry: RopeGeometry, parts: Sequence[NamedEncoding]) -> Encoding:
    """The encoding that has every part's change to plain RoPE.

    parts  (name, encoding) over the same geometry, at least one

    Raises RopewalkError where two parts set the frequencies, two set the position map, or two
    rotate values.
    """
    plain = none(geometry)
    encodings = [encoding for _, encoding in parts]
    mapped = [p for p in parts if p[1].position_map != plain.position_map]
    valued = [p for p in parts if p[1].value_rotation is not ValueRotation.NONE]
    timed = _rotating(parts, plain)
    return Encoding(
        geometry=geometry,
        frequencies=timed.frequencies,
        length_policy=timed.length_policy,
        position_map=_one(mapped, "the position map", plain).position_map,
        score_mods=tuple(mod for each in encodings for mod in each.score_mods),
        learned=tuple(bias for each in encodings for bias in each.learned),
        value_rotation=_one(valued, "the rotation of values", plain).value_rotation,
        value_terms=tuple(term for each in encodings for term in each.value_terms),
        inputs=tuple(each for encoding in encodings for each in encoding.inputs),
    )


def _rotating(parts: Sequence[NamedEncoding], plain: Encoding) -> Encoding:
    """The part whose frequencies are in force."""
    still = [p for p in parts if p[1].frequencies is None]
    scaled = [p for p in parts if p not in still and p[1].frequencies != plain.frequencies]
    asks = [p for p in parts if p not in still and not _keeps_rotation(p[1], plain)]
    if not scaled and still and not asks:
        return still[0][1]
    modifying = [p for p in scaled if isinstance(p[1].frequencies, ModifiedFrequencies)]
    setting = [p for p in scaled if p not in modifying]
    timed = _one(setting, "the frequencies", plain)
    if not modifying:
        return timed
    modifier = _one(modifying, "how frequencies are modified", plain).frequencies
    assert isinstance(modifier, ModifiedFrequencies)
    return replace(timed, frequencies=modifier.over(timed.rotation))


def _keeps_rotation(encoding: Encoding, plain: Encoding) -> bool:
    """Whether it is plain RoPE but for its scores."""
    return bool(encoding.score_mods) and replace(encoding, score_mods=()) == plain


def _one(setters: list[NamedEncoding], axis: str, plain: Encoding) -> Encoding:
    if len(setters) > 1:
        names = " and ".join(name for name, _ in setters)
        raise RopewalkError(f"{names} both set {axis}: expected at most one part to; drop one")
    return setters[0][1] if setters else plain
