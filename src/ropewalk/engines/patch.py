"""Keys to set in a config.json: where they stand, and what they replace."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.keys import FULL, LOCAL_THETAS, ORIGINAL, ROPE_DICTS, SLIDING
from ropewalk.configs.numbers import first
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape

_DEFAULT: Mapping[str, Any] = MappingProxyType({"rope_type": "default"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigPatch:
    """Keys to set in a config.json.

    section  the keys under which the text model's config stands, outermost first
    keys     the text model's keys; ``rope_parameters`` takes the place of ``rope_scaling``
    """

    section: tuple[str, ...]
    keys: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        shape: ModelShape,
        section: RopeSection,
        rope: Mapping[str, Any] | None,
        others: Mapping[str, float],
    ) -> "ConfigPatch":
        """The rope dict of the section's layer type, where one is wanted, and other keys.

        A config with a dict for each layer type keeps the others, and one whose sliding layers
        have a base of their own becomes such a config. An original length beside a flat dict is
        brought in line, because it wins over the one inside.
        """
        keys: dict[str, Any] = dict(others)
        if rope is not None:
            text, layers = shape.text, _other_layers(shape, section)
            name = section.layer_type or FULL
            whole = {**layers, name: dict(rope)} if layers else dict(rope)
            keys = {"rope_parameters": whole, **keys}
            if not layers and text.get(ORIGINAL) is not None and rope.get(ORIGINAL) is not None:
                keys[ORIGINAL] = rope[ORIGINAL]
        return cls(section=shape.text_section, keys=MappingProxyType(keys))

    @property
    def document(self) -> dict[str, Any]:
        """The keys at their place in config.json; empty where nothing changes."""
        if not self.keys:
            return {}
        document: dict[str, Any] = dict(self.keys)
        for name in reversed(self.section):
            document = {name: document}
        return document

    def read_again(self, text: str | None) -> "ConfigPatch":
        """The same place with the keys of ``document`` as JSON; no keys where there is no text."""
        document = {} if text is None else json.loads(text)
        for name in self.section:
            document = document.get(name, {})
        return replace(self, keys=MappingProxyType(document))

    def applied(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """``config`` with the keys set and what they replace dropped."""
        if self.section:
            name, *inner = self.section
            applied = replace(self, section=tuple(inner)).applied(config[name])
            return {**config, name: applied}
        gone = ("rope_scaling",) if "rope_parameters" in self.keys else ()
        return {**{k: v for k, v in config.items() if k not in gone}, **self.keys}

    def merged(self, shape: ModelShape) -> dict[str, Any]:
        """The same, a flat rope dict merged key by key into a flat one.

        Source: SGLang 0.5.23, srt/utils/hf_transformers (issue 27974).
        """
        rope, old = self.keys.get("rope_parameters"), shape.rope()
        if rope is None or old.nested or not is_flat(rope):
            return self.applied(shape.config)
        keys = {**self.keys, "rope_parameters": {**old.written, **rope}}
        return replace(self, keys=MappingProxyType(keys)).applied(shape.config)


def is_flat(rope: Mapping[str, Any]) -> bool:
    """Whether a rope dict holds numbers rather than a dict for each layer type."""
    return not any(isinstance(value, Mapping) for value in rope.values())


def _other_layers(shape: ModelShape, section: RopeSection) -> Mapping[str, Any]:
    """Rope dicts of layer types, where they differ; empty for a flat dict."""
    if section.nested:
        return dict(first(shape.text, ROPE_DICTS))
    stated = first(shape.text, LOCAL_THETAS)
    theta = families.LOCAL_THETA.get(shape.model_type) if stated is None else stated
    return {} if theta is None else {SLIDING: {**_DEFAULT, "rope_theta": theta}}
