"""What an export is asked for, and what it answers: values that every engine's writer shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.keys import BESIDE_SPEED, FULL, LOCAL_THETAS, ORIGINAL, ROPE_DICTS, SLIDING
from ropewalk.configs.numbers import first
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.export.block import RopeBlock

_DEFAULT: Mapping[str, Any] = MappingProxyType({"rope_type": "default"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """A method over a config, for a context of ``length`` tokens.

    shape               the checkpoint, as its config says it
    section             what the config says about positions, full attention where layers differ
    spec                as typed
    encoding            what must be computed
    block               the same as a rope block
    softmax_multiplier  on qk_head_dim^-1/2: what the checkpoint was trained with
    """

    shape: ModelShape
    section: RopeSection
    spec: str
    encoding: Encoding
    block: RopeBlock
    length: int
    softmax_multiplier: float

    @property
    def config(self) -> Mapping[str, Any]:
        return self.shape.config

    @property
    def text(self) -> Mapping[str, Any]:
        return self.shape.text

    @property
    def old_rope(self) -> Mapping[str, Any]:
        """The rope dict that the config has now, for full attention."""
        return self.section.written

    def rope_dict(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """A whole rope dict of the block, with ``keys`` for its magnitudes."""
        share = self.section.partial_rotary_factor
        partly = share < 1 and not self.section.latent_attention
        return {
            **{key: self.old_rope[key] for key in BESIDE_SPEED if key in self.old_rope},
            **({"partial_rotary_factor": share} if partly else {}),
            "rope_type": self.block.rope_type,
            "rope_theta": self.block.rope_theta,
            **self.block.parameters,
            **keys,
        }

    def patch(self, rope: Mapping[str, Any] | None, **others: float) -> "ConfigPatch":
        """Keys to set: the rope dict where one is wanted, and others."""
        return ConfigPatch.of(self.shape, self.section, rope, others)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigPatch:
    """Keys to set in a config.json.

    section  the key under which the text model's config stands, None where it is the whole
    keys     the text model's keys; ``rope_parameters`` takes the place of ``rope_scaling``
    """

    section: str | None
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

    def document(self) -> dict[str, Any]:
        """The keys at their place in config.json; empty where nothing changes."""
        if not self.keys:
            return {}
        return dict(self.keys) if self.section is None else {self.section: dict(self.keys)}

    def applied(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """``config`` with the keys set and what they replace dropped."""
        old = config if self.section is None else config[self.section]
        gone = ("rope_scaling",) if "rope_parameters" in self.keys else ()
        new = {**{k: v for k, v in old.items() if k not in gone}, **self.keys}
        return new if self.section is None else {**config, self.section: new}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one engine is given.

    patch  keys for config.json (transformers) or for the engine's override flag
    flags  words of the command line, unquoted
    """

    patch: ConfigPatch
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What an engine makes of what was written, at one served length.

    admitted   tokens that it admits with these flags; None where it admits any
    positions  that its table holds; None where there is no table or it grows
    """

    answer: EngineAnswer
    admitted: int | None
    positions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """How one engine is written for and asked back.

    command     the words before the flags, with MODEL for the checkpoint
    decided_by  the flag that decides frequencies once for all; None where they follow the
                sequence so far
    write       the block as flags; RopewalkError where the engine has no words for it
    unchanged   flags that leave the config's own encoding in place
    read_back   (written, config, served length, layer type): flags as text are parsed again
    limits      what this engine is known not to express, for a message
    tolerance   relative, of frequencies
    """

    command: tuple[str, ...]
    decided_by: str | None
    write: Callable[[ExportRequest], Written]
    unchanged: Callable[[ExportRequest], Written]
    read_back: Callable[[Written, Mapping[str, Any], int, str | None], ReadBack]
    limits: Callable[[ExportRequest], str]
    tolerance: float = 2e-6


def shorter_lengths(text: Mapping[str, Any], keys: tuple[str, ...], length: int) -> dict[str, int]:
    """Those of ``keys`` that the config states below ``length``, raised to it."""
    return {
        key: length
        for key in keys
        if isinstance(value := text.get(key), int | float) and value < length
    }


def _other_layers(shape: ModelShape, section: RopeSection) -> Mapping[str, Any]:
    """Rope dicts of layer types, where they differ; empty for a flat dict."""
    if section.nested:
        return dict(first(shape.text, ROPE_DICTS))
    stated = first(shape.text, LOCAL_THETAS)
    theta = families.LOCAL_THETA.get(shape.model_type) if stated is None else stated
    return {} if theta is None else {SLIDING: {**_DEFAULT, "rope_theta": theta}}
