"""What Ropewalk reads of a model type, held against the library's own modules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

import ropewalk as rw
from recipes.population.library import (
    DEFAULT,
    ROPE_TYPES,
    NotBuilt,
    Turning,
    default_config,
    length_of,
    rotary_kinds,
    scaled,
    turnings,
)

RIGHT, REFUSED, WRONG, NOT_BUILT = "right", "refused", "wrong", "not built"
_TOLERANCE = 2e-6
"""Relative: the library computes in float32."""
_REORDERED = ("ernie4_5_vl_moe", "ernie4_5_vl_moe_text")
"""Modules that hold the pairs of an image's axes in another order, and undo it when they rotate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One answer. ``reason`` is the refusal, the library's error, or what differs."""

    model_type: str
    rope_type: str
    layer_type: str | None
    status: str
    reason: str = ""


def readings(model_type: str) -> Iterator[Reading]:
    """Every answer about a type: its default config and each rope type that it accepts."""
    try:
        config = default_config(model_type)
        kinds = rotary_kinds(config)
        found = turnings(config, kinds)
    except NotBuilt as error:
        yield _reading(model_type, DEFAULT, None, (NOT_BUILT, str(error)))
        return
    if not found:
        yield _reading(model_type, DEFAULT, None, _no_rotation(config))
    for turning in found:
        layer_type = turning.layer_type
        yield _reading(model_type, DEFAULT, layer_type, _same(config, turning, DEFAULT))
        for rope_type in ROPE_TYPES[1:]:
            changed = scaled(config, rope_type, turning)
            if changed is None:
                continue
            try:
                expected = next(t for t in turnings(changed, kinds) if t.layer_type == layer_type)
            except NotBuilt:
                continue  # the class does not accept this rope type
            yield _reading(model_type, rope_type, layer_type, _same(changed, expected, rope_type))


def _reading(
    model_type: str, rope_type: str, layer_type: str | None, found: tuple[str, str]
) -> Reading:
    return Reading(
        model_type=model_type,
        rope_type=rope_type,
        layer_type=layer_type,
        status=found[0],
        reason=found[1],
    )


def _no_rotation(config: Mapping[str, Any]) -> tuple[str, str]:
    try:
        shown = rw.inspect(config)
    except rw.RopewalkError as error:
        return REFUSED, str(error)
    return (WRONG, "rotates") if shown["rotates"] else (RIGHT, "")


def _same(config: Mapping[str, Any], expected: Turning, rope_type: str) -> tuple[str, str]:
    length = length_of(rope_type)
    try:
        shown = rw.inspect(config, length, layer_type=expected.layer_type)
        engine = rw.audit(config, length, expected.layer_type)["engines"]["transformers"]
    except rw.RopewalkError as error:
        return REFUSED, str(error)
    if not _equal(shown, expected, config):
        return WRONG, f"inspect: {_differs(shown, expected)}"
    if engine["error"] is not None:
        return WRONG, f"audit: transformers is said to raise {engine['error']}"[:120]
    if not _equal(engine, expected, config):
        return WRONG, f"audit: {_differs(engine, expected)}"
    return RIGHT, ""


def _equal(shown: Mapping[str, Any], expected: Turning, config: Mapping[str, Any]) -> bool:
    ours: Sequence[float] = shown["inv_freq"] or []
    theirs: Sequence[float] = expected.inv_freq
    if config["model_type"] in _REORDERED:
        ours, theirs = sorted(ours), sorted(theirs)
    pairs = zip(ours, theirs, strict=False)
    return (
        len(ours) == len(theirs)
        and all(isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-30) for a, b in pairs)
        and isclose(shown["attention_factor"], expected.attention_factor, rel_tol=_TOLERANCE)
    )


def _differs(shown: Mapping[str, Any], expected: Turning) -> str:
    ours = shown["inv_freq"] or [0.0]
    return (
        f"{len(ours)} pairs, the second {ours[min(1, len(ours) - 1)]:.6g}, factor "
        f"{shown['attention_factor']}; the library has {len(expected.inv_freq)}, "
        f"{expected.inv_freq[min(1, len(expected.inv_freq) - 1)]:.6g}, {expected.attention_factor}"
    )
