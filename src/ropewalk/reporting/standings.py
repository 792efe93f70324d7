"""Who is best at a length, who cannot be told from the best, and how far the others are behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Column: TypeAlias = tuple[str | None, str, int]
"""Task (None: the loss of all tokens), mode and length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A method's figure minus the best's, paired; ``not_worse`` as ``evaluation`` says it."""

    method: str
    value: float
    ci95: tuple[float, float] | None
    ci95_over: str | None
    not_worse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The best of a column, and all others that were measured there, the nearest first."""

    best: str
    others: tuple[Behind, ...]

    @property
    def ties(self) -> tuple[str, ...]:
        """Methods that these texts do not tell from the best."""
        return tuple(each.method for each in self.others if each.not_worse)

    @property
    def leaders(self) -> frozenset[str]:
        """The best and its ties."""
        return frozenset((self.best, *self.ties))


def standings(document: Mapping[str, Any]) -> dict[Column, Standing]:
    """The standing of each column in which at least two methods were measured.

    Empty for a document without ``to_best``, which older runs lack.
    """
    columns: dict[Column, list[Mapping[str, Any]]] = {}
    for record in document.get("to_best", ()):
        column = (record.get("task"), record["mode"], record["length"])
        columns.setdefault(column, []).append(record)
    return {
        column: Standing(
            best=records[0]["baseline"],
            others=tuple(sorted(map(_behind, records), key=lambda each: abs(each.value))),
        )
        for column, records in columns.items()
    }


def _behind(record: Mapping[str, Any]) -> Behind:
    spread = record["ci95"]
    return Behind(
        method=record["method"],
        value=record["value"] if "task" in record else record["nll"],
        ci95=(spread[0], spread[1]) if spread else None,
        ci95_over=record["ci95_over"],
        not_worse=record["not_worse"],
    )
