"""What releases of the library call the key cache of a forward, in and out."""

from inspect import signature
from typing import Any

from torch import nn

CACHE_NAMES = ("past_key_values", "cache")


def cache_argument(module: nn.Module, cache: Any) -> dict[str, Any]:
    """``cache`` (None for none yet) as the forward of ``module`` takes it."""
    accepted = signature(module.forward).parameters
    name = next((each for each in CACHE_NAMES if each in accepted), CACHE_NAMES[0])
    return {name: cache}


def cache_in(output: Any) -> Any:
    """The cache that a forward handed back; None where there is none."""
    return next((c for n in CACHE_NAMES if (c := getattr(output, n, None)) is not None), None)
