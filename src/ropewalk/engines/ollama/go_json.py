"""A config as Go's decoder fills a struct.

A key that the struct does not name is left out, one that is missing or null is 0 or empty, and one
of another type ends the decoding.

Source: Go, encoding/json.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.configs.numbers import is_number
from ropewalk.engines.reading import EngineRaises

EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Json:
    """The keys of one struct."""

    keys: Mapping[str, Any]

    def number(self, *names: str) -> float:
        """The first of ``names`` that is not 0; EngineRaises for what is no number."""
        for name in names:
            value = self.keys.get(name)
            if value is not None and not is_number(value):
                raise EngineRaises(
                    f"json: cannot unmarshal {_kind(value)} into Go struct field {name}"
                )
            if value:
                return float(value)
        return 0.0

    def text(self, name: str) -> str:
        value = self.keys.get(name)
        if not isinstance(value, str | None):
            raise EngineRaises(f"json: cannot unmarshal {_kind(value)} into Go struct field {name}")
        return value or ""

    def numbers(self, name: str) -> tuple[float, ...]:
        value = self.keys.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(map(is_number, value)):
            raise EngineRaises(
                f"json: cannot unmarshal {_kind(value)} into Go struct field {name} of type "
                "[]float32"
            )
        return tuple(map(float, value))

    def inner(self, name: str) -> "Json":
        value = self.keys.get(name)
        if not isinstance(value, Mapping | None):
            raise EngineRaises(f"json: cannot unmarshal {_kind(value)} into Go struct field {name}")
        return Json(value or EMPTY)


def _kind(value: object) -> str:
    """The name that encoding/json has for a value."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case Mapping():
            return "object"
    return "number"
