"""How far a position map carries a checkpoint."""

from abc import abstractmethod

from ropewalk.core.errors import RopewalkError
from ropewalk.core.regions import PositionMap

LARGEST_COUNT = 2**40


class ReachingMap(PositionMap):
    """A map that knows up to which context length it stays inside what training showed."""

    @abstractmethod
    def reach(self, trained_length: int) -> int | None:
        """The longest context with every distance below ``trained_length``; None: any context."""


def check_tokens(tokens: int, name: str) -> None:
    """RopewalkError unless ``tokens`` counts at least one token."""
    if not 1 <= tokens <= LARGEST_COUNT:
        raise RopewalkError(f"{name}={tokens}: expected 1 to 2^40 tokens")
