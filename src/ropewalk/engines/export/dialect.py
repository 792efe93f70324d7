"""How an engine is told what to compute, and asked what it makes of that.

Three engines are told in keys of config.json, or in a flag that holds them as JSON: one writer
and a row for each. llama.cpp is told in flags alone.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import EngineAnswer, EngineRule, TwoTables
from ropewalk.engines.export.request import ExportRequest
from ropewalk.engines.patch import ConfigPatch
from ropewalk.engines.reading import Reading
from ropewalk.engines.transformers.config_class import PHI3_TYPES
from ropewalk.engines.words import value_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """What one engine is given.

    patch  keys for config.json (transformers) or for the engine's override flag
    flags  words of the command line, unquoted
    """

    patch: ConfigPatch
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What an engine makes of its directions, at one served length.

    admitted   tokens that it admits with these flags; None where it admits any
    positions  that its table holds; None where there is no table or it grows
    """

    answer: EngineAnswer
    admitted: int | None
    positions: int | None = None


class Dialect(ABC):
    """How one engine is told, and asked back.

    command    the words before the flags, with MODEL for the checkpoint
    length     the flag of the served length, which decides frequencies once for all; None where
               they follow the sequence so far
    reserved   tokens of the served length that a prompt may not fill
    tolerance  relative, of frequencies
    """

    command: tuple[str, ...]
    length: str | None
    reserved: int
    tolerance: ClassVar[float] = 2e-6

    @abstractmethod
    def write(self, request: ExportRequest) -> Directions:
        """The method; RopewalkError where the engine has no words for it."""

    @abstractmethod
    def unchanged(self, request: ExportRequest) -> Directions:
        """The config's own encoding, and a length."""

    @abstractmethod
    def read_back(self, directions: Directions, request: ExportRequest, length: int) -> ReadBack:
        """What the engine computes; flags are parsed again from their words."""

    @abstractmethod
    def limits(self, request: ExportRequest) -> str:
        """What this engine is known not to express, for a message."""

    def has_lists(self, request: ExportRequest) -> bool:
        """Whether the lists of a LongRoPE config reach the engine."""
        return True


def any_length(answer: EngineAnswer) -> int | None:
    """The engine admits any length."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDialect(Dialect):
    """An engine that is told in keys of config.json.

    rule         what the engine computes
    overrides    the flag that holds the keys; None: they are written into config.json
    length_keys  config keys from which the engine derives the length that it admits
    rope         the rope dict, magnitudes in the keys that the engine reads for each type
    stated       other keys that are always set
    applied      the config under a patch
    decides      (tokens of a sequence, served length) -> the length that decides its frequencies
    admitted     tokens that the engine admits
    positions    that its table holds, where it does not grow
    known        what its classes do not read
    """

    rule: EngineRule
    command: tuple[str, ...] = ()
    overrides: str | None = None
    length: str | None = None
    reserved: int = 0
    length_keys: tuple[str, ...] = ()
    rope: Callable[[ExportRequest], dict[str, Any]]
    stated: Callable[[ExportRequest], dict[str, float]] = lambda request: {}
    applied: Callable[[ConfigPatch, ModelShape], Mapping[str, Any]] = lambda patch, shape: (
        patch.applied(shape.config)
    )
    decides: Callable[[int, int], int] = lambda sequence, served: sequence
    admitted: Callable[[EngineAnswer, Reading], int | None] = lambda answer, reading: (
        answer.max_length
    )
    positions: Callable[[EngineAnswer], int | None] = any_length
    known: Callable[[ExportRequest], str]

    def write(self, request: ExportRequest) -> Directions:
        rope_type = request.block.rope_type
        if request.section.model_type == "phi3" and rope_type not in PHI3_TYPES:
            raise RopewalkError(
                "Phi-3's config class, through which transformers, vLLM and SGLang load, knows "
                f"{' and '.join(PHI3_TYPES)} alone, asked was {rope_type}; nearest: rw.extend in "
                "transformers, which computes it"
            )
        return self._directions(request, self.rope(request))

    def unchanged(self, request: ExportRequest) -> Directions:
        return self._directions(request, None)

    def read_back(self, directions: Directions, request: ExportRequest, length: int) -> ReadBack:
        patch, served = directions.patch, length
        if self.overrides is not None and self.length is not None:
            patch = patch.read_again(value_of(directions.flags, self.overrides))
            served = int(value_of(directions.flags, self.length) or length)
        shape = request.shape.reread(self.applied(patch, request.shape))
        reading = Reading.of(shape, self.decides(length, served), request.section.layer_type)
        answer = self.rule(reading)
        return ReadBack(
            answer=answer,
            admitted=self.admitted(answer, reading),
            positions=self.positions(answer),
        )

    def limits(self, request: ExportRequest) -> str:
        return self.known(request)

    def _directions(self, request: ExportRequest, rope: Mapping[str, Any] | None) -> Directions:
        """Length keys are raised only where the length derived would be too short."""
        others = {} if rope is None else self.stated(request)
        directions = self._words(request.patch(rope, **others), request.length)
        admitted = self.read_back(directions, request, request.length).admitted
        if admitted is None or admitted >= request.length:
            return directions
        stated = ((key, request.shape.text.get(key)) for key in self.length_keys)
        raised = {
            key: request.length
            for key, value in stated
            if isinstance(value, int | float) and value < request.length
        }
        return self._words(request.patch(rope, **raised), request.length)

    def _words(self, patch: ConfigPatch, length: int) -> Directions:
        if self.overrides is None or self.length is None:
            return Directions(patch=patch)
        keys = (self.overrides, json.dumps(patch.document)) if patch.keys else ()
        return Directions(patch=patch, flags=(*keys, self.length, str(length)))


def longest_table(answer: EngineAnswer) -> int | None:
    """Positions that the tables of an answer hold."""
    rows = answer.table_rows
    return max(rows.short, rows.long) if isinstance(rows, TwoTables) else rows
