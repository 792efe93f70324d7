"""The text model inside a config: its own keys over those of the multimodal model around it."""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.keys import (
    LOCAL_THETAS,
    ORIGINAL,
    ROPE_DICTS,
    SHARES,
    THETAS,
)
from ropewalk.core.errors import RopewalkError

_SECTIONS = ("text_config", "llm_config", "language_config")
_ROPE_FIELDS = (*ROPE_DICTS, *THETAS, *LOCAL_THETAS, *SHARES, "rotary_dim", "qk_rope_head_dim")


def text_section(config: Mapping[str, Any]) -> str | None:
    """The key of a multimodal config that holds the text model's keys, None where none does."""
    name = next((name for name in _SECTIONS if config.get(name) is not None), None)
    return name if name and isinstance(config[name], Mapping) else None


def text_model(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text model's keys over the outer ones; a rope dict inside hides those outside.

    Raises RopewalkError for what is no config.
    """
    if not isinstance(config, Mapping):
        raise RopewalkError(f"a config that is a {type(config).__name__}: expected a JSON object")
    name = text_section(config)
    inner = {} if name is None else config[name]
    hidden = {*ROPE_DICTS, ORIGINAL} if any(key in inner for key in ROPE_DICTS) else set()
    return {**{k: v for k, v in config.items() if k not in hidden}, **inner}


def require_rotation(text: Mapping[str, Any]) -> None:
    """Raise RopewalkError for a text model that states nothing about a rotation."""
    if not any(key in text for key in _ROPE_FIELDS):
        raise RopewalkError("no rope fields: expected rope_theta, rope_parameters or rope_scaling")


def model_type(text: Mapping[str, Any]) -> str:
    """The family, empty where it is not stated."""
    return str(text.get("model_type") or "")
