"""How an embedding is made of the states of a text."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """``of`` makes ``[width]`` of the states ``[n, width]`` of a text."""

    name: str
    of: Callable[[Tensor], Tensor]


POOLINGS = (
    Pooling(name="mean", of=lambda states: states.mean(dim=0)),
    Pooling(name="first token", of=lambda states: states[0]),
    Pooling(name="last token", of=lambda states: states[-1]),
)
