"""What a picture is drawn of: encodings beside each other at one length."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ropewalk.analysis.training import Stage, Training
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError

LARGEST_TABLE = 2**18
"""Numbers of a table."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """Encodings of one checkpoint, by the specs that make them.

    trained         frequencies of training up to ``trained_length``, radians a token, ``[f]``
    context_length  in tokens
    """

    encodings: tuple[tuple[str, Encoding], ...]
    trained: Tensor
    trained_length: int
    context_length: int

    @property
    def training(self) -> Training:
        """Of its unscaled frequencies alone: what a picture compares with."""
        return Training((Stage(inv_freq=self.trained, length=self.trained_length),))

    def each(self, facts: Callable[[Encoding], Record]) -> list[Record]:
        """The facts of each encoding, beside its ``method``."""
        return [{"method": name, **facts(encoding)} for name, encoding in self.encodings]


def at_most(length: int, largest: int) -> None:
    """Raise RopewalkError for a length beyond the largest that a picture shows."""
    if length > largest:
        raise RopewalkError(f"length={length}: expected at most {largest} tokens in this picture")
