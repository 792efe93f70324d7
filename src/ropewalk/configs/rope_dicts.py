"""Which rope dict holds for which layer type.

``rope_scaling`` wins over ``rope_parameters``. One dict may hold for the model, or one for each
layer type; families whose sliding layers turn otherwise state a base for them beside a flat dict.
"""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.keys import FULL, LOCAL_THETAS, ROPE_DICTS, SLIDING
from ropewalk.configs.numbers import first
from ropewalk.configs.text import model_type
from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeDict:
    """A rope dict as written, for one layer type.

    keys        as they stand in the config
    layer_type  None where the config knows one kind
    nested      whether the config has one dict for each layer type
    """

    keys: Mapping[str, Any]
    layer_type: str | None
    nested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeDicts:
    """All of a text model's: ``by_layer_type`` is empty for a flat dict."""

    text: Mapping[str, Any]
    flat: Mapping[str, Any]
    by_layer_type: Mapping[str, Any]

    @classmethod
    def of(cls, text: Mapping[str, Any]) -> "RopeDicts":
        """Raises RopewalkError for a rope dict that is neither an object nor null."""
        rope = _in_force(text)
        nested = any(isinstance(inner, Mapping) for inner in rope.values())
        if nested and not {"rope_type", "type"} & {*rope}:
            return cls(text=text, flat={}, by_layer_type=rope)
        return cls(text=text, flat=rope, by_layer_type={})

    @property
    def layer_types(self) -> tuple[str, ...]:
        """Names that one may ask for."""
        if self.by_layer_type:
            return tuple(self.by_layer_type)
        listed = self.text.get("layer_types")
        names = map(str, listed) if isinstance(listed, list | tuple) else ()
        return tuple(dict.fromkeys(names)) or (FULL, SLIDING)

    def of_layer_type(self, name: str | None) -> RopeDict:
        """The dict of one layer type; None: full attention, where its layers turn.

        Raises RopewalkError for a layer type without a dict of its own.
        """
        if not self.by_layer_type:
            keys = self._sliding() if name == SLIDING else self.flat
            return RopeDict(keys=keys, layer_type=name, nested=False)
        name = self._main() if name is None else name
        inner = self.by_layer_type[name]
        if not isinstance(inner, Mapping):
            raise RopewalkError(f"layer type {name} has no rope parameters; choose another")
        return RopeDict(keys=inner, layer_type=name, nested=True)

    def written(self, name: str | None) -> Mapping[str, Any]:
        """The dict that a layer type has, empty where it has none."""
        if not self.by_layer_type:
            return self.of_layer_type(name).keys
        inner = self.by_layer_type.get(name or self._main())
        return inner if isinstance(inner, Mapping) else {}

    def _main(self) -> str:
        rotating = [name for name, rope in self.by_layer_type.items() if isinstance(rope, Mapping)]
        return FULL if FULL in rotating else rotating[0]

    def _sliding(self) -> Mapping[str, Any]:
        """Sliding layers of families whose flat rope dict is meant for full attention."""
        local = first(self.text, LOCAL_THETAS)
        if local is not None:
            return {"rope_theta": local}
        if model_type(self.text) in families.SLIDING_LAYERS_UNSCALED:
            kept = ("rope_theta", "partial_rotary_factor")
            return {key: self.flat[key] for key in kept if key in self.flat}
        return self.flat


def _in_force(text: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ROPE_DICTS:
        value = text.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise RopewalkError(f"{name}={reprlib.repr(value)}: expected a JSON object or null")
        if value:
            _require_finite(value)
            return value
    return {}


def _require_finite(rope: Mapping[str, Any]) -> None:
    """JSON has neither infinity nor NaN; Python reads both, and no export could write them."""
    for key, value in rope.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RopewalkError(f"{key}={value} in a rope dict: expected a finite number")
        if isinstance(value, Mapping):
            _require_finite(value)
