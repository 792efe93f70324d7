"""A finding, the kinds of findings, and what they look at.

A kind of finding is a function that looks at evidence and yields what it sees:

    @error("dynamic-dropped", "what it means", "what to write instead")
    def dropped(evidence: Evidence) -> Iterator[Sighting]: ...
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from ropewalk.engines.answer import ENGINE_NAMES, TRANSFORMERS, VLLM, EngineAnswer, TwoTables
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.vllm.rules import through_transformers

SAME = 1e-4
"""Relative difference below which two engines compute the same."""


class Severity(IntEnum):
    """How much harm: error before warning before info."""

    ERROR = 0
    WARNING = 1
    INFO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that an engine does with this config.

    message  what happens and why
    remedy   what to write instead
    """

    id: str
    severity: Severity
    engines: tuple[str, ...]
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A config and what each engine computes for it."""

    reading: Reading
    answers: Mapping[str, EngineAnswer]

    def has(self, key: str) -> bool:
        """Whether the rope dict states ``key`` with a value."""
        return self.reading.rope.get(key) is not None

    def number(self, key: str) -> float | None:
        return self.reading.number(key)

    @property
    def rope_type(self) -> str:
        """The normalised rope type."""
        return self.reading.section.rope_type

    @property
    def library(self) -> tuple[str, ...]:
        """Engines that run transformers' own rotary module for this model."""
        return (TRANSFORMERS, VLLM) if self.in_vllms_backend else (TRANSFORMERS,)

    @property
    def in_vllms_backend(self) -> bool:
        """Whether vLLM runs the model through its Transformers backend."""
        try:
            return through_transformers(self.reading)
        except EngineRaises:
            return False

    def holds_lists(self, engine: str) -> bool:
        """Whether the engine has both of LongRoPE's lists."""
        return self.answers[engine].inv_freq_long is not None

    def factor_of(self, engine: str) -> float | None:
        return self.answers[engine].attention_factor

    def factors(self, engines: tuple[str, ...] = ENGINE_NAMES) -> str:
        """Attention factors, as text."""
        return ", ".join(f"{name} {number(self.factor_of(name) or 0)}" for name in engines)

    def off_factor(self, meant: float) -> tuple[str, ...]:
        """Engines whose attention factor is not ``meant``."""
        return self._off(meant, {name: self.factor_of(name) for name in ENGINE_NAMES})

    def off_multiplier(self, meant: float) -> tuple[str, ...]:
        """Engines whose softmax multiplier is not ``meant``."""
        found = {name: self.answers[name].softmax_scale_multiplier for name in ENGINE_NAMES}
        return self._off(meant, found)

    def running(self, *names: str) -> tuple[str, ...]:
        """Those of ``names`` that answered with frequencies."""
        return tuple(name for name in names if self.answers[name].inv_freq is not None)

    def raising(self, *patterns: str) -> dict[str, str]:
        """Errors of engines that hold one of ``patterns``."""
        errors = {name: answer.error or "" for name, answer in self.answers.items()}
        return {
            name: error
            for name, error in errors.items()
            if any(pattern in error for pattern in patterns)
        }

    def difference(self, engine: str, reference: str) -> float | None:
        """As ``EngineAnswer.difference``."""
        return self.answers[engine].difference(self.answers[reference])

    def rows(self, engine: str) -> int | None:
        """Positions that the table of ``engine`` holds, of the list in use."""
        answer, rows = self.answers[engine], self.answers[engine].table_rows
        if isinstance(rows, TwoTables):
            return rows.long if answer.inv_freq == answer.inv_freq_long else rows.short
        return rows

    @staticmethod
    def _off(meant: float, found: Mapping[str, float | None]) -> tuple[str, ...]:
        return tuple(
            name
            for name, value in found.items()
            if value is not None and abs(value - meant) > SAME * abs(meant)
        )


class Sighting(NamedTuple):
    """A kind of finding seen in one config; ``remedy`` where the kind's own is too general."""

    engines: tuple[str, ...]
    message: str
    remedy: str | None = None
    severity: Severity | None = None


Seen = TypeVar("Seen")
Look = Callable[[Evidence], Iterator[Sighting]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[Seen]):
    """One kind of finding in a config, or in whatever else its look takes.

    severity  unless a sighting says otherwise
    meaning   what it says, in one line, for the table in the documentation
    look      yields nothing where the config does not show it
    """

    id: str
    severity: Severity
    meaning: str
    remedy: str
    look: Callable[[Seen], Iterator[Sighting]]

    def findings(self, evidence: Seen) -> Iterator[Finding]:
        for seen in self.look(evidence):
            if seen.engines:
                yield Finding(
                    id=self.id,
                    severity=self.severity if seen.severity is None else seen.severity,
                    engines=seen.engines,
                    message=seen.message,
                    remedy=seen.remedy or self.remedy,
                )


def _kind(
    severity: Severity, id: str, meaning: str, remedy: str
) -> Callable[[Look], Kind[Evidence]]:
    def kind(look: Look) -> Kind[Evidence]:
        return Kind(id=id, severity=severity, meaning=meaning, remedy=remedy, look=look)

    return kind


error = partial(_kind, Severity.ERROR)
warning = partial(_kind, Severity.WARNING)
info = partial(_kind, Severity.INFO)


def raising(pattern: str, message: str) -> Look:
    """A look for engines whose error holds ``pattern``."""

    def look(evidence: Evidence) -> Iterator[Sighting]:
        if errors := evidence.raising(pattern):
            yield Sighting((*errors,), f"{message} ({next(iter(errors.values()))})")

    return look


def number(value: float) -> str:
    """Five significant digits."""
    return f"{value:.5g}"
