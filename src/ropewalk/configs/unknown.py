"""What a config leaves open, kept as a value until someone needs it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from ropewalk.core.errors import RopewalkError

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A part of a model that its config does not state, or states wrongly.

    A config without a number of layers says enough for an inspection and too little for the
    memory of its cache: the whole is read once, and ``reason`` is the error of whoever needs it.
    """

    reason: str


def known(value: T | Unknown) -> T:
    """The value; raises RopewalkError with the reason where it is unknown."""
    if isinstance(value, Unknown):
        raise RopewalkError(value.reason)
    return value


def attempt(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Unknown:
    """What ``read`` answers, or the RopewalkError that it raises as an Unknown."""
    try:
        return read(*args, **kwargs)
    except RopewalkError as error:
        return Unknown(str(error))
