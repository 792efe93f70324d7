"""Curves over context length, as places in a drawing: what the template of the SVG is given."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ropewalk.reporting.ticks import labelled

WIDTH, HEIGHT = 640.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 14.0, 52.0, 62.0
DODGE, MOST_DODGE = 3.0, 18.0
"""Between the bars of neighbouring curves, so that they do not hide each other."""
LOOKS = 45
"""Curves that differ in dashes or marker, before both begin again."""

Tick: TypeAlias = tuple[float, str]
"""A place, and what is written there ("" for a bare line)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured figure: what is drawn at a length, its interval, and how it reads."""

    length: int
    value: float
    ci95: tuple[float, float] | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A sample's place. ``low`` and ``high`` are None without an interval."""

    x: float
    y: float
    bar_x: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One method. ``number`` decides colour, dashes and marker; 0 is black and thick."""

    name: str
    number: int
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """Of the line, as SVG writes it."""
        return "M" + " L".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)

    @property
    def end(self) -> float:
        """The place of the last point, downwards: the order of the legend."""
        return self.points[-1].y

    @property
    def look(self) -> int:
        """The baseline's is 0; others go round."""
        return 0 if self.number == 0 else 1 + (self.number - 1) % LOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing of 640 x 400 units, y downwards."""

    key: str
    title: str
    description: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    trained_x: float | None
    trained_length: int
    curves: tuple[Curve, ...]
    bars: str | None

    @property
    def frame(self) -> Mapping[str, float]:
        """The corners of the plotted area, and the size of the whole."""
        return {
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "top": TOP,
            "bottom": HEIGHT - BOTTOM,
            "width": WIDTH,
            "height": HEIGHT,
        }


def draw(
    series: Mapping[str, tuple[int, Sequence[Sample]]],
    *,
    key: str,
    title: str,
    y_label: str,
    trained_length: int,
    ticks: Callable[[float, float], Sequence[Tick]],
    limits: tuple[float, float] | None = None,
    bars: str | None = None,
) -> Chart | None:
    """Samples of each method, with the method's number, on a log2 axis of lengths.

    ticks   those of the vertical axis between two values
    limits  of the vertical axis; without them, what the samples and their intervals need
    bars    what the bars are, for the caption; None where there are none

    None where nothing was measured.
    """
    samples = [sample for _, own in series.values() for sample in own]
    if not samples:
        return None
    lengths = sorted({sample.length for sample in samples})
    across = _across(lengths, trained_length)
    low, high = limits or _limits(samples)
    down = _linear(low, high, HEIGHT - BOTTOM, TOP)
    curves = [
        _curve(name, number, own, across, down, shift=place - (len(series) - 1) / 2)
        for place, (name, (number, own)) in enumerate(series.items())
        if own
    ]
    shown = labelled(lengths, trained_length, share=1 / 9)
    inside = lengths[0] / 2**0.5 <= trained_length <= lengths[-1] * 2**0.5
    return Chart(
        key=key,
        title=title,
        description=_description(title, series, lengths),
        y_label=y_label,
        x_ticks=tuple((across(n), f"{n:,}" if n in shown else "") for n in lengths),
        y_ticks=tuple((down(value), text) for value, text in ticks(low, high)),
        trained_x=across(trained_length) if inside else None,
        trained_length=trained_length,
        curves=tuple(curves),
        bars=bars,
    )


def _description(
    title: str, series: Mapping[str, tuple[int, Sequence[Sample]]], lengths: Sequence[int]
) -> str:
    """What a reader who does not see the picture is told: where each curve ends."""
    span = f"{lengths[0]:,} to {lengths[-1]:,}" if len(lengths) > 1 else f"{lengths[0]:,}"
    ends = [
        f"{name} {own[-1].text} at {own[-1].length:,}" for name, (_, own) in series.items() if own
    ]
    return f"{title}, {span} tokens. Ends of the curves: {'; '.join(ends)}."


def _curve(
    name: str,
    number: int,
    samples: Sequence[Sample],
    across: Callable[[float], float],
    down: Callable[[float], float],
    *,
    shift: float,
) -> Curve:
    aside = max(-MOST_DODGE, min(MOST_DODGE, DODGE * shift))
    points = [
        Point(
            x=across(sample.length),
            y=down(sample.value),
            bar_x=across(sample.length) + aside,
            low=down(sample.ci95[0]) if sample.ci95 else None,
            high=down(sample.ci95[1]) if sample.ci95 else None,
            text=sample.text,
        )
        for sample in samples
    ]
    return Curve(name=name, number=number, points=tuple(points))


def _limits(samples: Sequence[Sample]) -> tuple[float, float]:
    ends = [end for each in samples for end in (each.value, *(each.ci95 or ()))]
    low, high = min(ends), max(ends)
    room = 0.05 * (high - low) or 0.05
    return low - room, high + room


def _across(lengths: Sequence[int], trained_length: int) -> Callable[[float], float]:
    """A log2 axis over the lengths; the trained length too where it is near."""
    low, high = math.log2(lengths[0]) - 0.25, math.log2(lengths[-1]) + 0.25
    place = _linear(low, high, LEFT, WIDTH - RIGHT)
    return lambda length: place(math.log2(length))


def _linear(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    """From values to places; what lies outside is put just beyond the edge."""
    span = high - low or 1.0

    def place(value: float) -> float:
        share = min(max((value - low) / span, -0.02), 1.02)
        return first + (last - first) * share

    return place
