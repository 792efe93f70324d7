"""Numbers of a rope dict as one engine reads them, each with the keys that decide it."""

from collections.abc import Callable
from typing import NamedTuple

from ropewalk.engines.reading import EngineRaises, Reading


class Stated(NamedTuple):
    """A number, and the keys of the rope dict that an engine reads for it."""

    value: float
    keys: tuple[str, ...] = ()


Read = Callable[[Reading], Stated]


def required(key: str, error: str) -> Read:
    """The number under ``key``; ``error`` is what the engine raises where it is null or missing."""

    def read(reading: Reading) -> Stated:
        value = reading.number(key)
        if value is None:
            raise EngineRaises(error)
        return Stated(value, (key,))

    return read


def optional(key: str, default: float) -> Read:
    """The number under ``key``, ``default`` where it is null or missing."""

    def read(reading: Reading) -> Stated:
        value = reading.number(key)
        return Stated(default if value is None else value, (key,))

    return read


def nonzero(key: str, default: float) -> Read:
    """The number under ``key``, ``default`` where it is null, missing or 0."""
    return lambda reading: Stated(reading.number(key) or default, (key,))


def always(value: float) -> Read:
    """A number that no key decides."""
    return lambda reading: Stated(value)


def factor_or_ratio(reading: Reading) -> Stated:
    """factor, or M / L where it is null or missing."""
    value = reading.number("factor")
    return Stated(reading.longest / reading.original if value is None else value, ("factor",))


def original_length(reading: Reading) -> int:
    """L."""
    return reading.original


def keys_of(*read: Stated) -> tuple[str, ...]:
    """All keys that decide these numbers."""
    return tuple(key for stated in read for key in stated.keys)


def truncate(reading: Reading) -> Stated:
    """Whether cut-offs are rounded to whole pairs: what Python takes for true, as by default."""
    return Stated(float(bool(reading.rope.get("truncate", True))), ("truncate",))


BETA_FAST, BETA_SLOW = nonzero("beta_fast", 32.0), nonzero("beta_slow", 1.0)
ROUNDED = always(1.0)
"""Cut-offs are rounded, whatever ``truncate`` says."""
