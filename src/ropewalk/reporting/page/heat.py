"""Heat maps: share of trials retrieved, by depth of the answer (rows) and length (columns)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ropewalk.reporting.tasks import effective_length, reach

SHADES = 10
"""Shade of a share of one; 0 is a share of nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """A depth at a length. Both figures are percent; None: not measured, not ranked."""

    ranked: int | None
    generated: int | None

    @property
    def headline(self) -> int | None:
        """Trials whose answer ranks first; where none is ranked, those answered right."""
        return self.generated if self.ranked is None else self.ranked

    @property
    def shade(self) -> int | None:
        """0 (nothing) to 10 (all)."""
        return None if self.headline is None else round(self.headline / 100 * SHADES)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """One method: ``rows`` are depths from the start of the text, each with a square a length.

    reaches  how far every depth is retrieved, in words; None: at no length
    """

    method: str
    lengths: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Square, ...]], ...]
    reaches: str | None


NOT_MEASURED = Square(ranked=None, generated=None)


def heat_maps(records: Sequence[Mapping[str, Any]]) -> list[HeatMap]:
    """One for each method that has depths, of the records of one task in one mode."""
    lengths = tuple(sorted({record["length"] for record in records}))
    methods = dict.fromkeys(record["method"] for record in records if record["depths"])
    return [
        _heat_map(method, lengths, [r for r in records if r["method"] == method])
        for method in methods
    ]


def _heat_map(
    method: str, lengths: tuple[int, ...], records: Sequence[Mapping[str, Any]]
) -> HeatMap:
    depths: dict[str, dict[int, Square]] = {}
    for record in records:
        for depth in record["depths"] or ():
            name = f"{depth['from']:.0%} to {depth['to']:.0%}"
            depths.setdefault(name, {})[record["length"]] = _square(depth)
    rows = tuple(
        (name, tuple(squares.get(length, NOT_MEASURED) for length in lengths))
        for name, squares in depths.items()
    )
    reaches = None if effective_length(records) is None else reach(records)
    return HeatMap(method=method, lengths=lengths, rows=rows, reaches=reaches)


def _square(depth: Mapping[str, Any]) -> Square:
    ranked = depth["rank_1"]
    return Square(
        ranked=None if ranked is None else round(100 * ranked),
        generated=round(100 * depth["right"]),
    )
