"""What a layer attends to."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Attention(ABC):
    """What a row of a layer sees, and so how many tokens its cache keeps."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def window(self) -> int | None:
        """Tokens that a row sees at most; None: all of them."""


@dataclass(frozen=True, slots=True)
class Full(Attention):
    """Every earlier token."""

    name = "full"

    @property
    def window(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Sliding(Attention):
    """The last ``width`` tokens."""

    name = "sliding"
    width: int

    @property
    def window(self) -> int:
        return self.width


@dataclass(frozen=True, slots=True)
class Chunked(Attention):
    """The tokens since the last multiple of ``width``."""

    name = "chunked"
    width: int

    @property
    def window(self) -> int:
        return self.width


@dataclass(frozen=True, slots=True)
class Recurrent(Attention):
    """A state that does not grow: linear attention, Mamba, a convolution."""

    name = "recurrent"

    @property
    def window(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class NoAttention(Attention):
    """No earlier token: a layer that is a feed-forward block or a mixture of experts, or that
    attends to an image."""

    name = "none"

    @property
    def window(self) -> int:
        return 0
