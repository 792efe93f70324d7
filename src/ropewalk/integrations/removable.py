"""What is in force in a model until it is taken out again."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

Own = TypeVar("Own", bound="Removable")


class Removable(ABC):
    """A context manager, whose end is ``remove``."""

    @abstractmethod
    def remove(self) -> None:
        """Restore the model. Safe to call twice."""

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()
