"""A protocol: which tokens are scored for a context length, and with how much before them.

A protocol turns one document and some lengths into spans. A span is fed to the model as
one sequence; each of its scored slices belongs to one length and one unit (a window of a
document, or the document). Sums of a unit are kept; a mean is taken once, over all units.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.averages import Average, OverTokens
from ropewalk.evaluation.bos import BosTokenizer, opening_ids
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.protocols.parameters import Flag, Parameter, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Tokens ``first .. last - 1`` of a sequence, scored for one length and one window."""

    length: int
    window: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Tokens ``start .. stop - 1`` of a document: one sequence for the model.

    opening  ids that are fed before them and belong to no document
    """

    start: int
    stop: int
    scored: tuple[Targets, ...]
    opening: tuple[int, ...] = ()

    @property
    def first(self) -> int:
        """Index in the sequence of the first token that is scored."""
        return min(scored.first for scored in self.scored)

    def place(self, index: int) -> int:
        """Where in the document index ``index`` of the sequence stands."""
        return self.start + index - len(self.opening)

    def __len__(self) -> int:
        return len(self.opening) + self.stop - self.start


class Sharing(ABC):
    """Which lengths one set of passes may serve. A property of a method and a pass."""

    @abstractmethod
    def groups(self, lengths: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """``lengths`` (ascending), grouped."""


@dataclass(frozen=True, slots=True)
class SharedPasses(Sharing):
    """Prefix-consistent: a token's loss depends on earlier tokens only, so that a pass over
    a long span gives what a pass over its beginning gives.
    """

    def groups(self, lengths: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        return (lengths,) if lengths else ()


@dataclass(frozen=True, slots=True)
class OnePassPerLength(Sharing):
    """A token's loss may depend on where its sequence ends: each length is its own pass."""

    def groups(self, lengths: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        return tuple((length,) for length in lengths)


class EvaluationProtocol(ABC):
    """What is scored. A final subclass is a frozen dataclass of positive integers.

    Raises RopewalkError for a parameter below 1.
    """

    name: ClassVar[str]
    """As typed on the command line."""
    average: ClassVar[Average] = OverTokens()
    """From the sums of units to the figure of a cell."""

    def __post_init__(self) -> None:
        for name in self.parameters():
            value = getattr(self, name)
            if value < 1:
                raise RopewalkError(f"{self.name}: {name}={value}; expected at least 1")

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Its parameters by name."""
        declared: Any = cls
        return {each.name: each.metadata["parameter"] for each in fields(declared)}

    @classmethod
    def flags(cls) -> tuple[Flag, ...]:
        """Those that set its parameters."""
        return tuple(each.flag for each in cls.parameters().values() if each.flag)

    @classmethod
    def chosen(cls, scope: Scope, given: Mapping[Flag, int]) -> "EvaluationProtocol":
        """The protocol of a run, with a default for what is not given."""
        values = {
            name: given[each.flag] if each.flag and each.flag in given else each.default(scope)
            for name, each in cls.parameters().items()
        }
        return cls(**values)

    @property
    def text(self) -> str:
        """Name and all parameters, e.g. ``tail:tokens=128,windows=8``."""
        values = ",".join(f"{name}={getattr(self, name)}" for name in self.parameters())
        return f"{self.name}:{values}" if values else self.name

    @classmethod
    def opening(cls, tokenizer: BosTokenizer, bos: str) -> tuple[int, ...]:
        """Ids with which a window begins, of its n tokens; here as ``bos`` says.

        Raises RopewalkError as ``opening_ids``.
        """
        return opening_ids(tokenizer, bos)

    def groups(self, lengths: tuple[int, ...], sharing: Sharing) -> tuple[tuple[int, ...], ...]:
        """Lengths (ascending) by the set of passes that serves them; here each its own."""
        return OnePassPerLength().groups(lengths)

    def texts(self, documents: tuple[Document, ...]) -> tuple[Document, ...]:
        """What is cut into spans; here the documents as they are."""
        return documents

    @abstractmethod
    def check(self, length: int, document: Document) -> None:
        """Raises RopewalkError, with the remedy, if ``length`` cannot be measured."""

    @abstractmethod
    def spans(self, lengths: Sequence[int], document: Document) -> Iterator[Span]:
        """Spans that serve all ``lengths`` (one group, ascending, each checked)."""
