"""How a sequence is split into calls: what a path-independent encoding may not notice."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from ropewalk.core.errors import RopewalkError
from ropewalk.core.lengths import LengthPolicy


class Pass(ABC):
    """Splits ``length`` tokens into consecutive calls through one key cache."""

    @abstractmethod
    def calls(self, length: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of each call, in order; together they are 0 .. length."""

    def policy(self, policy: LengthPolicy) -> LengthPolicy:
        """The length policy under which these calls compute what the pass stands for."""
        return policy

    @property
    @abstractmethod
    def name(self) -> str:
        """As typed on the command line."""


@dataclass(frozen=True, slots=True)
class FullPass(Pass):
    """Everything in one call."""

    def calls(self, length: int) -> Iterator[tuple[int, int]]:
        yield 0, length

    @property
    def name(self) -> str:
        return "full"


@dataclass(frozen=True, slots=True)
class ChunkedPass(Pass):
    """Chunked prefill: calls of ``size`` tokens, the last one shorter."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RopewalkError(f"chunked:{self.size}: expected chunks of at least 1 token")

    def calls(self, length: int) -> Iterator[tuple[int, int]]:
        for start in range(0, length, self.size):
            yield start, min(start + self.size, length)

    @property
    def name(self) -> str:
        return f"chunked:{self.size}"


@dataclass(frozen=True, slots=True)
class DecodePass(Pass):
    """Really token by token."""

    def calls(self, length: int) -> Iterator[tuple[int, int]]:
        for start in range(length):
            yield start, start + 1

    @property
    def name(self) -> str:
        return "decode"


@dataclass(frozen=True, slots=True)
class StreamPass(Pass):
    """In one call, what decoding token by token computes after a prompt of ``prompt`` tokens."""

    prompt: int = 1

    def __post_init__(self) -> None:
        if self.prompt < 1:
            raise RopewalkError(f"stream:{self.prompt}: expected a prompt of at least 1 token")

    def calls(self, length: int) -> Iterator[tuple[int, int]]:
        yield 0, length

    def policy(self, policy: LengthPolicy) -> LengthPolicy:
        return policy.streamed(self.prompt)

    @property
    def name(self) -> str:
        return "stream" if self.prompt == 1 else f"stream:{self.prompt}"
