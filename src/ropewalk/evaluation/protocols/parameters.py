"""Parameters of protocols: each protocol declares its own, with the flag that sets it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PUBLISHED_STRIDE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is known of a run before its protocol is: lengths in tokens, ascending."""

    trained_length: int
    lengths: tuple[int, ...]

    @property
    def quarter(self) -> int:
        """A quarter of the trained length."""
        return max(self.trained_length // 4, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag that several protocols have: its name in Python, and its help."""

    name: str
    help: str


WINDOWS = Flag(name="windows", help="Windows a text, spread over it")
TAIL_TOKENS = Flag(name="tail_tokens", help="Tokens scored in a window")
STRIDE = Flag(name="stride", help="Tokens between windows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """How a parameter gets its value: by ``flag``, if it has one, else by ``default``."""

    default: Callable[[Scope], int]
    flag: Flag | None


def parameter(default: Callable[[Scope], int], flag: Flag | None = None) -> Any:
    """A field of a protocol."""
    return field(metadata={"parameter": Parameter(default=default, flag=flag)})


def windows() -> Any:
    """W: 8 windows a text."""
    return parameter(lambda scope: 8, WINDOWS)


def tail_tokens() -> Any:
    """K: a quarter of the trained length, at most 1,024."""
    return parameter(lambda scope: min(scope.quarter, 1024), TAIL_TOKENS)


def stride() -> Any:
    """S: as published."""
    return parameter(lambda scope: PUBLISHED_STRIDE, STRIDE)


def text_tokens() -> Any:
    """T: tokens of a text that count, four times the longest length."""
    return parameter(lambda scope: 4 * scope.lengths[-1])
