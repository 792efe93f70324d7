"""What a search can afford: sizes of its parts, and the allowance of its way, from seconds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ropewalk.core.seconds import require_seconds
from ropewalk.searching.trials import Allowance

SIZES = ((8, 8, 24), (4, 4, 12), (2, 2, 6))
"""Search, choice and test documents: the first by default, smaller ones for small budgets and
short texts."""
FINALIST_BARS = 4
"""Fixed schedules that reach the test documents, by estimate."""
OVERHEAD = 1.15
"""Of a measurement over its passes."""
CLOSING_SECONDS = 3.0
"""Pictures and files."""


Sizes = tuple[int, int, int]
"""Search, choice and test documents."""


def sizes_for(units: float, fits: Callable[[Sizes], bool]) -> Sizes:
    """The largest sizes whose fixed cost is at most half of ``units``, and that the text has.

    fits  whether the text has so many; where no size fits, the smallest
    """
    fitting = [each for each in SIZES if fits(each)] or SIZES[-1:]
    affordable = (each for each in fitting if fixed_units(each) <= units / 2)
    return next(affordable, fitting[-1])


def fixed_units(sizes: Sequence[int]) -> int:
    """Measurements that any search makes, by estimate: opening, choice and test."""
    search, choice, test = sizes
    return (FINALIST_BARS + 1) * search + closing_units(choice, test, FINALIST_BARS)


def closing_units(choice: int, test: int, bars: int, finalists: int = 5) -> int:
    """Measurements after the way: finalists and bars are chosen among, three and bars tested."""
    return (finalists + bars) * choice + (2 + bars) * test


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """So many seconds from ``begun`` (of ``time.monotonic``) on; None for no end.

    unit_seconds  what a measurement of one document has taken so far, on average
    """

    seconds: float | None
    begun: float
    unit_seconds: Callable[[], float]

    def __post_init__(self) -> None:
        require_seconds(self.seconds)

    @property
    def left(self) -> float:
        """Seconds; infinite without an end."""
        if self.seconds is None:
            return float("inf")
        return self.begun + self.seconds - CLOSING_SECONDS - time.monotonic()

    def units(self) -> float:
        """Measurements that fit into what is left."""
        return max(0.0, self.left) / (OVERHEAD * max(self.unit_seconds(), 1e-9))

    def allowance(self, limit: int | None, spent: int, closing: int) -> Allowance:
        """Of the way.

        limit    units in all, those ``spent`` among them
        closing  units that are kept back for choice and test
        """
        affordable = limit
        if self.seconds is not None:
            left = spent + max(0, int(self.units()) - closing)
            affordable = left if limit is None else min(limit, left)
        return self.planned(affordable, closing)

    def planned(self, limit: int | None, closing: int) -> Allowance:
        """An allowance that was worked out before; the clock holds as well."""
        return Allowance(units=limit, fits=lambda units: units + closing <= self.units())
