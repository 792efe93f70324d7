"""A method's keyword parameters: names and types from its signature, values from text.

Annotations that a parameter may have: int, float, bool, a Literal of words, ``tuple[float, ...]``
(in text ``@file.json``), and any of these or None.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ropewalk.core.errors import RopewalkError
from ropewalk.methods.method import Method

Value = int | float | bool | str | tuple[float, ...] | None
_WORDS = {"true": True, "false": False}
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One keyword parameter of a method; ``kind`` is its annotation without None."""

    method: str
    name: str
    kind: Any
    required: bool
    default: Value

    def parse(self, text: str) -> Value:
        """The value that ``text`` spells."""
        if text.startswith("@"):
            return self.check(_read_list(Path(text[1:])))
        if self.kind is bool:
            return self.check(_WORDS.get(text.lower(), text))
        if self.kind in (int, float):
            try:
                return self.check(self.kind(text))
            except (ValueError, OverflowError):
                raise self._error(text) from None
        return self.check(text)

    def check(self, value: object) -> Value:
        """``value`` in the parameter's own type; RopewalkError where it has another."""
        if value is None and not self.required and self.default is None:
            return None
        if get_origin(self.kind) is tuple:
            return self._numbers(value)
        if get_origin(self.kind) is Literal:
            if isinstance(value, str) and value in get_args(self.kind):
                return value
        elif self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            if abs(value) < 10**300:
                return float(value)
        elif isinstance(value, int | float) and type(value) is self.kind:
            return value
        raise self._error(value)

    def _numbers(self, value: object) -> tuple[float, ...]:
        if not isinstance(value, list | tuple):
            raise self._error(value)
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
            raise self._error("a list with entries that are not numbers")
        try:
            return tuple(float(v) for v in value)
        except OverflowError:
            raise self._error("a list with an absurd number") from None

    def _error(self, value: object) -> RopewalkError:
        shown = str(value) if len(str(value)) <= 40 else f"{str(value)[:37]}..."
        if get_origin(self.kind) is Literal:
            words = get_args(self.kind)
            near = get_close_matches(str(value), words, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            expected = f"{', '.join(words)}{hint}"
        elif get_origin(self.kind) is tuple:
            expected = f"a list of numbers, in a spec {self.name}=@file.json"
        else:
            expected = _EXPECTED[self.kind]
        return RopewalkError(f"{self.method}: {self.name}={shown}: expected {expected}")


def parameters_of(method: Method) -> Mapping[str, Parameter]:
    """The keyword parameters of a method, in the order of its signature."""
    hints = get_type_hints(method.build)
    parameters = list(inspect.signature(method.build).parameters.values())[1:]
    return {
        p.name: Parameter(
            method=method.name,
            name=p.name,
            kind=_without_none(hints[p.name]),
            required=p.default is p.empty,
            default=None if p.default is p.empty else p.default,
        )
        for p in parameters
    }


def parameter(method: str, known: Mapping[str, Parameter], name: str) -> Parameter:
    """The parameter of that name; RopewalkError with the nearest name where there is none."""
    if name in known:
        return known[name]
    if not known:
        raise RopewalkError(f"{method}: unknown key {name}: it has no parameters; drop it")
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise RopewalkError(f"{method}: unknown key {name}: expected {', '.join(known)}{hint}")


def require_nameable(folder: Path) -> None:
    """Raise RopewalkError for a folder of which no spec can name a file."""
    if found := [mark for mark in "+," if mark in str(folder)]:
        raise RopewalkError(
            f"{folder}: a method is to name files there, and {found[0]} divides it: expected a "
            "folder without + and comma; give another --out"
        )


def _without_none(annotation: Any) -> Any:
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    optional = NoneType in get_args(annotation)
    return kinds[0] if optional else annotation


def _read_list(path: Path) -> object:
    """A JSON list, or what cannot be one, for ``check`` to refuse."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RopewalkError(
            f"@{path}: {error.strerror or error}; expected a JSON file with a list of numbers"
        ) from None
    except (ValueError, RecursionError):
        raise RopewalkError(f"@{path}: not JSON; expected a list of numbers") from None
