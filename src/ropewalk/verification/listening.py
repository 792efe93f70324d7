"""Who hears of a verification while it runs, and where its records are kept."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ropewalk.storage.folders import Key
from ropewalk.verification.verdicts import Record

Document = dict[str, Any]


class Listener(Protocol):
    """Told how a verification goes on."""

    def working(self, work: str, share: float) -> None:
        """What begins, and the share of what is left to measure that is done."""
        ...

    def begun(self, document: Document) -> None:
        """What is allowed is known: the document, as yet without records."""
        ...

    def finished(self, records: Sequence[Record]) -> None:
        """All records of one method."""
        ...


class Silent:
    """Tells nothing."""

    def working(self, work: str, share: float) -> None:
        return None

    def begun(self, document: Document) -> None:
        return None

    def finished(self, records: Sequence[Record]) -> None:
        return None


class Store(Protocol):
    """Where records are kept: a ``Folder``, or nowhere."""

    def load(self, key: Key) -> Mapping[str, Any] | None: ...

    def save(self, key: Key, content: Mapping[str, Any]) -> None: ...


class NoStore:
    """Keeps nothing."""

    def load(self, key: Key) -> Mapping[str, Any] | None:
        return None

    def save(self, key: Key, content: Mapping[str, Any]) -> None:
        return None
