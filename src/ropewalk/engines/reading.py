"""A config as every engine rule reads it: normalised where engines agree, raw where they do not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ropewalk.configs.keys import ORIGINAL, SLIDING
from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.rope import TYPES_FROM_ORIGINAL, RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry


class EngineRaises(Exception):
    """What an engine itself raises, as "Type: message"; caught where its answer is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One config for one layer type.

    rope           the rope dict in force, as written
    section        the same, normalised and checked
    served_length  tokens asked for, or None
    """

    shape: ModelShape
    rope: Mapping[str, Any]
    section: RopeSection
    served_length: int | None

    @classmethod
    def of(
        cls, shape: ModelShape, served_length: int | None = None, layer_type: str | None = None
    ) -> "Reading":
        """Raises RopewalkError for a config or length that no engine could be asked about."""
        section = shape.rope(layer_type)
        rope = section.written
        if section.layer_type == SLIDING and section.rope_type == "default":
            rope = {**rope, "rope_type": "default"}
        return cls(
            shape=shape,
            rope=rope,
            section=section,
            served_length=None if served_length is None else length(served_length, "served_length"),
        )

    @property
    def text(self) -> Mapping[str, Any]:
        """The text model's keys."""
        return self.shape.text

    @property
    def nested(self) -> bool:
        """Whether the config has one rope dict for each layer type."""
        return self.section.nested

    @property
    def written_type(self) -> str:
        """The rope type as written, aliases and all."""
        name = self.rope.get("rope_type") or self.rope.get("type")
        return "default" if name is None else str(name)

    @property
    def model_type(self) -> str:
        return self.section.model_type

    @property
    def architecture(self) -> str:
        """The first of ``architectures``, or nothing."""
        listed = self.text.get("architectures")
        return str(listed[0]) if isinstance(listed, list | tuple) and listed else ""

    @property
    def longest(self) -> int:
        """M: max_position_embeddings, in tokens."""
        return self.section.max_position_embeddings

    @property
    def original(self) -> int:
        """L: original_max_position_embeddings by transformers' rule for flat and nested dicts."""
        beside = None if self.nested else self.text.get(ORIGINAL)
        value = self.rope.get(ORIGINAL) if beside is None else beside
        return self.longest if value is None else length(value, ORIGINAL)

    @property
    def has_original(self) -> bool:
        """Whether an L stands in the dict once transformers has completed it."""
        return self.written_type in TYPES_FROM_ORIGINAL or self.rope.get(ORIGINAL) is not None

    @property
    def latent(self) -> bool:
        """Whether this is multi-head latent attention that engines run by DeepSeek's files, which
        force YaRN; MiniCPM 3 has a file of its own, which does not.

        Source: vLLM 0.33.0 and SGLang 0.5.23, models/minicpm3.py.
        """
        own = self.section.model_type == "minicpm3"
        return self.text.get("qk_rope_head_dim") is not None and not own

    def geometry(self, trained_length: int | None = None) -> RopeGeometry:
        """What was trained; ``trained_length`` in tokens where a type names its own."""
        geometry = self.section.geometry()
        return (
            geometry if trained_length is None else replace(geometry, trained_length=trained_length)
        )

    def number(self, name: str) -> float | None:
        return self.section.number(name)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of the rope dict; RopewalkError unless it holds numbers."""
        values = self.section.numbers(name)
        if values is None:
            raise RopewalkError(f"{name}: expected a list of numbers, one for each pair")
        return values


def length(value: object, name: str) -> int:
    """A number of tokens; RopewalkError for anything else."""
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    if not whole or not 2 <= value <= LARGEST_LENGTH or value != int(value):  # type: ignore[operator, call-overload]
        raise RopewalkError(f"{name}={value!r:.40}: expected 2 to 2^40 tokens")
    return int(value)  # type: ignore[call-overload, no-any-return]
