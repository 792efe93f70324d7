"""Numbers of a config, checked: in JSON anything may stand where a number belongs."""

import reprlib
from collections.abc import Mapping
from typing import Any

from ropewalk.core.errors import RopewalkError

LARGEST_NUMBER = 1e18
LARGEST_HEAD_DIM = 2**16
LARGEST_LENGTH = 2**40
LARGEST_SIZE = 2**24
LARGEST_LAYER_COUNT = 2**12


def first(text: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first value that is neither absent nor null, else None."""
    name = first_name(text, names)
    return None if name is None else text[name]


def first_name(text: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of ``names`` whose value is neither absent nor null, else None."""
    return next((name for name in names if text.get(name) is not None), None)


def is_number(value: object) -> bool:
    """Whether this is a number within 10^18: a bool is an int in Python, NaN compares false."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and abs(value) <= LARGEST_NUMBER  # type: ignore[arg-type]


def number(value: object, name: str) -> float:
    """A finite number; RopewalkError for anything else."""
    if not is_number(value):
        raise RopewalkError(f"{name}={reprlib.repr(value)}: expected a number up to 10^18")
    return float(value)  # type: ignore[arg-type]


def optional(section: Mapping[str, Any], name: str) -> float | None:
    """The number under ``name``, None where it is absent or null."""
    value = section.get(name)
    return None if value is None else number(value, name)


def integer(value: object, name: str, *, smallest: int = 0, largest: float = 1e18) -> int:
    """A whole number in a range, whether written as 8 or 8.0; RopewalkError for anything else."""
    found = number(value, name)
    if found != int(found) or not smallest <= found <= largest:
        raise RopewalkError(f"{name}={value}: expected a whole number {smallest} to {largest:.0f}")
    return int(found)


def numbers(section: Mapping[str, Any], name: str) -> tuple[float, ...] | None:
    """The list of numbers under ``name``, None where there is none."""
    values = section.get(name)
    if not isinstance(values, list | tuple) or not all(map(is_number, values)):
        return None
    return tuple(map(float, values))


def size(text: Mapping[str, Any], *names: str) -> int | None:
    """The first of ``names`` that is neither absent nor null, a whole number from 0 on."""
    name = first_name(text, names)
    if name is None:
        return None
    value = text[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_SIZE:
        raise RopewalkError(f"{name}={value!r:.40}: expected a whole number up to 2^24")
    return value


def required_size(text: Mapping[str, Any], *names: str) -> int:
    """The same, at least 1; RopewalkError where none is stated."""
    value = size(text, *names)
    if not value:
        raise RopewalkError(f"no {' or '.join(names)}: expected a whole number from 1 on; add it")
    return value
