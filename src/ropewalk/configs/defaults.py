"""What a config leaves unstated, from the library that will run the model.

A library's own config class knows the sizes, bases and layers that its family assumes: what it
completes is taken for every key that the config does not state in any spelling. Keys of a stated
rope dict are the config's alone, but for the base and the share of the channels that turn.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ropewalk.configs.keys import (
    FULL,
    HEADS,
    HIDDEN,
    KEY_HEADS,
    LAYERS,
    LENGTHS,
    LOCAL_THETAS,
    ROPE_DICTS,
    SHARES,
    SLIDING,
    THETAS,
)
from ropewalk.configs.numbers import first

Library = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""A config -> its text model's keys, completed by the library that knows its family; empty where
none does."""

_SPELLINGS: tuple[tuple[str, ...], ...] = (
    *(LENGTHS, THETAS, LOCAL_THETAS, (*SHARES, "rotary_dim")),
    *(HIDDEN, HEADS, KEY_HEADS, LAYERS),
)
_FROM_ROPE_DICT = ((THETAS[0], FULL), (SHARES[0], FULL), (LOCAL_THETAS[0], SLIDING))
"""Keys that may stand beside a flat dict, and the layer type whose dict holds them elsewhere."""


def no_library(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Knows no family: a config is what it states."""
    return {}


def with_defaults(stated: Mapping[str, Any], completed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text model's keys with those of ``completed`` where none of their spellings is stated."""
    rope, theirs = first(stated, ROPE_DICTS) or {}, first(completed, ROPE_DICTS)
    everywhere = {**rope, **stated} if isinstance(rope, Mapping) else stated
    filled = {
        key: value
        for key, value in completed.items()
        if key not in ROPE_DICTS and value is not None and not _is_stated(everywhere, key)
    }
    if not isinstance(theirs, Mapping) or _is_nested(rope):
        return {**stated, **filled}
    if not rope and (THETAS[0] not in theirs or not _is_stated(stated, THETAS[0])):
        return {**stated, **filled, ROPE_DICTS[1]: theirs}
    for key, layer_type in _FROM_ROPE_DICT:
        name = THETAS[0] if key in LOCAL_THETAS else key
        of_type = theirs.get(layer_type) if _is_nested(theirs) else theirs
        name = name if _is_nested(theirs) else key
        value = of_type.get(name) if isinstance(of_type, Mapping) else None
        if value is not None and not _is_stated(everywhere, key):
            filled[key] = value
    return {**stated, **filled}


def _is_nested(rope: object) -> bool:
    """Whether a rope dict holds one for each layer type."""
    return isinstance(rope, Mapping) and any(isinstance(v, Mapping) for v in rope.values())


def _is_stated(text: Mapping[str, Any], key: str) -> bool:
    spellings = next((names for names in _SPELLINGS if key in names), (key,))
    return first(text, spellings) is not None
