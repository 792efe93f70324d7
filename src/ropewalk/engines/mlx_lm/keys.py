"""How the files of mlx_lm/models take a key.

Source: MLX-LM 0.32.2, models/base.py (BaseModelArgs.from_dict): what a dataclass does not name is
    left out, and a field without a default must be there.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.numbers import is_number
from ropewalk.engines.reading import EngineRaises

Keys = Mapping[str, Any]
Base = Callable[[Keys], float]
Dict = Callable[[Keys], Keys | None]
Channels = Callable[[Keys, int], int]

THETA, SCALING, PARAMETERS = "rope_theta", "rope_scaling", "rope_parameters"
_EMPTY: Keys = MappingProxyType({})


def taken(keys: Keys, name: str, default: float | None = None) -> float:
    """A number; EngineRaises where it is missing and has no default, and for what is none."""
    if name not in keys:
        if default is None:
            raise EngineRaises(f"TypeError: missing 1 required argument: '{name}'")
        return default
    value = keys[name]
    if not is_number(value):
        raise EngineRaises(f"TypeError: {name} is {type(value).__name__}, not a number")
    return float(value)


def inner(keys: Keys, name: str) -> Keys:
    """The dict under ``name``, empty where there is none."""
    value = keys.get(name)
    return value if isinstance(value, Mapping) else _EMPTY


def beside(default: float | None = None, name: str = THETA) -> Base:
    """The base beside the rope dict alone."""
    return lambda keys: taken(keys, name, default)


def inside(default: float | None = None) -> Base:
    """The base inside ``rope_parameters``, else the one beside it."""

    def base(keys: Keys) -> float:
        rope = inner(keys, PARAMETERS)
        return taken(rope if THETA in rope else keys, THETA, default)

    return base


def within(default: float) -> Base:
    """The base inside ``rope_parameters``, and never the one beside it."""
    return lambda keys: taken(inner(keys, PARAMETERS), THETA, default)


def of_qwen3(keys: Keys) -> float:
    """Beside the dict, else inside ``rope_parameters``."""
    found = keys.get(THETA)
    found = inner(keys, PARAMETERS).get(THETA) if found is None else found
    if found is None:
        raise EngineRaises("ValueError: rope_theta is missing from the model config.")
    return taken({THETA: found}, THETA)


def of_layers(layer_type: str, default: float) -> Base:
    """The base inside the dict of one layer type."""
    return lambda keys: taken(inner(inner(keys, PARAMETERS), layer_type), THETA, default)


def no_dict(keys: Keys) -> None:
    """A file that reads no rope dict."""
    return None


def scaling(keys: Keys) -> Keys | None:
    """``rope_scaling``."""
    return inner(keys, SCALING) or None


def parameters(keys: Keys) -> Keys | None:
    """``rope_parameters``."""
    return inner(keys, PARAMETERS) or None


def either(keys: Keys) -> Keys | None:
    """``rope_scaling``, else ``rope_parameters``."""
    return scaling(keys) or parameters(keys)


def dict_of(layer_type: str) -> Dict:
    """The dict of one layer type."""
    return lambda keys: inner(inner(keys, PARAMETERS), layer_type) or None


def whole(keys: Keys, head_dim: int) -> int:
    """The whole head turns."""
    return head_dim


def share(name: str, default: float | None = None) -> Channels:
    """A share of the head turns."""
    return lambda keys, head_dim: int(head_dim * taken(keys, name, default))


def share_within(default: float) -> Channels:
    """The same, stated inside ``rope_parameters``."""
    return lambda keys, head_dim: int(
        head_dim * taken(inner(keys, PARAMETERS), "partial_rotary_factor", default)
    )


def share_of_layers(layer_type: str) -> Channels:
    """The same inside the dict of one layer type, else beside the dicts."""

    def channels(keys: Keys, head_dim: int) -> int:
        name, rope = "partial_rotary_factor", inner(inner(keys, PARAMETERS), layer_type)
        return int(head_dim * taken(rope if name in rope else keys, name, 1.0))

    return channels


def stated(name: str, default: float | None = None) -> Channels:
    """So many channels turn."""
    return lambda keys, head_dim: int(taken(keys, name, default))
