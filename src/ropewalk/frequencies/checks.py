"""Bounds that several frequency schedules share."""

from ropewalk.core.errors import RopewalkError

LARGEST_FACTOR = float(2**40)


def check_factor(factor: float, name: str = "factor") -> None:
    """RopewalkError unless 1 <= factor <= 2^40; NaN fails too."""
    if not 1 <= factor <= LARGEST_FACTOR:
        raise RopewalkError(
            f"{name}={factor}: expected a number from 1 to 2^40; a factor below 1 would shorten "
            "the context"
        )


def check_positive(value: float, name: str) -> None:
    """RopewalkError unless 0 < value < infinity."""
    if not 0 < value < float("inf"):
        raise RopewalkError(f"{name}={value}: expected a finite number above 0")
