"""The text model inside a config: its own keys over those of the multimodal model around it."""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.keys import (
    HIDDEN,
    LOCAL_THETAS,
    ORIGINAL,
    ROPE_DICTS,
    SHARES,
    THETAS,
)
from ropewalk.configs.numbers import first
from ropewalk.core.errors import RopewalkError

_SECTIONS = (
    *("text_config", "llm_config", "language_config", "thinker_config", "vlm_config", "decoder"),
)
_DEEPEST = 4
_ROPE_FIELDS = (*ROPE_DICTS, *THETAS, *LOCAL_THETAS, *SHARES, "rotary_dim", "qk_rope_head_dim")


def text_section(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys, outermost first, under which the text model's keys stand; empty for the whole."""
    path: tuple[str, ...] = ()
    while len(path) < _DEEPEST:
        name = next((name for name in _SECTIONS if config.get(name) is not None), None)
        if name is None or not isinstance(config[name], Mapping):
            break
        path, config = (*path, name), config[name]
    return path


def text_model(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text model's keys over the outer ones.

    What says how a text model rotates stands in its section alone, as every library reads it; a
    section that is no text model by itself (no sizes, no family) is filled up from outside.

    Raises RopewalkError for what is no config.
    """
    if not isinstance(config, Mapping):
        raise RopewalkError(f"a config that is a {type(config).__name__}: expected a JSON object")
    text = config
    for name in text_section(config):
        inner = text[name]
        dicts = any(key in inner for key in ROPE_DICTS)
        hidden = {*ROPE_DICTS, ORIGINAL} if dicts else set()
        if any(key in inner for key in (*HIDDEN, "model_type")):
            hidden |= {*ROPE_DICTS, ORIGINAL, *THETAS, *LOCAL_THETAS, *SHARES}
        if any(key in inner for key in HIDDEN):
            hidden |= {"head_dim"}  # the wrapper's own: the section states its sizes
        text = {**{k: v for k, v in text.items() if k not in hidden}, **inner}
    return text


def rope_beside_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rope dict that stands outside the text section, whose own there is none; else empty."""
    inner: Mapping[str, Any] = config
    outside: Mapping[str, Any] = {}
    for name in text_section(config):
        found = first(inner, ROPE_DICTS)
        outside = found if isinstance(found, Mapping) else outside
        inner = inner[name]
    return {} if first(inner, ROPE_DICTS) is not None else outside


def with_text_keys(
    config: Mapping[str, Any], path: tuple[str, ...], keys: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The config with other keys in the section that ``path`` leads to."""
    if not path:
        return {**config, **keys}
    name, *rest = path
    return {**config, name: with_text_keys(config[name], tuple(rest), keys)}


def states_rotation(text: Mapping[str, Any]) -> bool:
    """Whether a text model says anything about a rotation."""
    return any(key in text for key in _ROPE_FIELDS)


def model_type(text: Mapping[str, Any]) -> str:
    """The family, empty where it is not stated."""
    return str(text.get("model_type") or "")
