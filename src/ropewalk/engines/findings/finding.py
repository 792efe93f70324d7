"""A finding, the kinds of findings, and what they look at."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from ropewalk.engines.answer import (
    ENGINE_NAMES,
    EngineAnswer,
    TwoTables,
)
from ropewalk.engines.reading import Reading

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

    def factor_of(self, engine: str) -> float | None:
        return self.answers[engine].attention_factor

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

    def difference(self, engine: str, reference: str) -> float | None:
        """Largest relative difference of a frequency from the reference's.

        None where either has none; infinite where a pair turns in one alone.
        """
        theirs, ours = self.answers[engine].inv_freq, self.answers[reference].inv_freq
        if theirs is None or ours is None or len(theirs) != len(ours):
            return None
        pairs = zip(theirs, ours, strict=True)
        return max(abs(a - b) / abs(b) if b else math.inf if a else 0.0 for a, b in pairs)

    def rows(self, engine: str) -> int | None:
        """Positions that the table of ``engine`` holds, of the list in use."""
        rows = self.answers[engine].table_rows
        if isinstance(rows, TwoTables):
            used, long = self.answers[engine].inv_freq, self.answers[engine].inv_freq_long
            return rows.long if used == long else rows.short
        return rows

    @staticmethod
    def _off(meant: float, found: Mapping[str, float | None]) -> tuple[str, ...]:
        return tuple(
            name
            for name, value in found.items()
            if value is not None and abs(value - meant) > SAME * abs(meant)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A kind of finding seen in one config; ``remedy`` where the kind's own is too general."""

    engines: tuple[str, ...]
    message: str
    remedy: str | None = None
    severity: Severity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of finding.

    severity  unless a sighting says otherwise
    meaning   what it says, in one line, for the table in the documentation
    look      None where the config does not show it
    """

    id: str
    severity: Severity
    meaning: str
    remedy: str
    look: Callable[[Evidence], Sighting | None]

    def finding(self, evidence: Evidence) -> Finding | None:
        seen = self.look(evidence)
        if seen is None:
            return None
        return Finding(
            id=self.id,
            severity=self.severity if seen.severity is None else seen.severity,
            engines=seen.engines,
            message=seen.message,
            remedy=seen.remedy or self.remedy,
        )


def raising(pattern: str, message: str) -> Callable[[Evidence], Sighting | None]:
    """A look for engines whose error holds ``pattern``."""

    def look(evidence: Evidence) -> Sighting | None:
        errors = {
            name: answer.error
            for name, answer in evidence.answers.items()
            if answer.error is not None and pattern in answer.error
        }
        if not errors:
            return None
        quoted = next(iter(errors.values()))
        return Sighting(engines=tuple(errors), message=f"{message} ({quoted})")

    return look


def number(value: float) -> str:
    """Five significant digits."""
    return f"{value:.5g}"
