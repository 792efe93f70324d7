"""Ticks of axes: round perplexities at equally spaced nats, and lengths whose labels fit."""

import math
from collections.abc import Sequence

MOST_TICKS = 8
"""Ticks of the axis of perplexities."""

_LARGEST_DECADE = 300
# Leading digits of ticks, densest first.
_TICKS: tuple[tuple[float, ...], ...] = (
    tuple(1 + step / 20 for step in range(180)),
    tuple(1 + step / 10 for step in range(90)),
    tuple(1 + step / 5 for step in range(45)),
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 4, 6, 8),
    (1, 2, 5),
    (1,),
    (),
)
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def perplexity_ticks(low: float, high: float) -> list[float]:
    """Round perplexities whose logarithms lie between ``low`` and ``high`` nats, at most eight."""
    steps = next(s for s in _TICKS if len(_between(s, low, high)) <= MOST_TICKS)
    return _between(steps, low, high)


def even_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten that lie between both, at most ``most``."""
    span = high - low
    if not 0 < span < math.inf:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(each * power for each in _STEPS if span / (each * power) <= most - 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def labelled(lengths: Sequence[int], trained_length: int, share: float = 1 / 20) -> set[int]:
    """Lengths whose labels fit: none closer than ``share`` of the axis to a more important one."""
    most = math.log2(lengths[-1] / lengths[0]) * share
    kept: list[int] = []
    for length in sorted(lengths, key=lambda n: (n != trained_length, n != lengths[-1], n)):
        if all(abs(math.log2(length / other)) >= most for other in kept):
            kept.append(length)
    return set(kept)


def _between(steps: tuple[float, ...], low: float, high: float) -> list[float]:
    highest = min(math.ceil(high / math.log(10)), _LARGEST_DECADE)
    decades = range(math.floor(low / math.log(10)), highest + 1)
    ticks = (step * 10.0**decade for decade in decades for step in steps)
    return [ppl for ppl in ticks if low <= math.log(ppl) <= high]
