"""Models whose layers take encodings as values: nothing has to be found or replaced."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.removable import Removable
from ropewalk.methods.spec import NATIVE
from ropewalk.methods.stretched_biases import STRETCHES


@runtime_checkable
class EncodedModel(Protocol):
    """A causal model that applies whatever encodings its layers are given."""

    @property
    def encodings(self) -> Sequence[Encoding]:
        """In force in each layer."""
        ...

    @property
    def windows(self) -> Sequence[int | None]:
        """Tokens that each layer sees; None for all before it."""
        ...

    def encode(self, encodings: Sequence[Encoding]) -> None:
        """Put an encoding into each layer."""
        ...


class EncodedExtension(Removable):
    """Other encodings in force in such a model, until ``remove``. A context manager."""

    def __init__(
        self, model: EncodedModel, change: Callable[[Encoding], Encoding], name: str
    ) -> None:
        """Raises RopewalkError where ``name``, unless native, leaves every layer as it is."""
        self._model, self._own = model, list(model.encodings)
        # No distance is new in a window that is no longer than the trained length.
        encodings = [
            change(own) if window is None or window > own.geometry.trained_length else own
            for own, window in zip(self._own, model.windows, strict=True)
        ]
        if encodings == self._own and all(own.frequencies is None for own in self._own):
            _refuse_no_change(name)
        self.wanted = {f"layer {number}": each for number, each in enumerate(encodings)}
        model.encode(encodings)

    @property
    def both_ways(self) -> bool:
        """Whether rows see what comes after them."""
        return False

    def remove(self) -> None:
        """Put the model's own encodings back."""
        self._model.encode(self._own)

    def __repr__(self) -> str:
        told = self.describe()
        changed = f"{told['layers_changed']} of {told['layers']} layers changed"
        return f"EncodedExtension({told['family']}: {changed}, fingerprint {told['fingerprint']})"

    def describe(self) -> dict[str, Any]:
        """Which layers changed, and a fingerprint of the encodings in force."""
        changed = sum(
            each != own for each, own in zip(self.wanted.values(), self._own, strict=True)
        )
        return {
            "family": "ropewalk",
            "layers": len(self._own),
            "layers_changed": changed,
            "layers_without_positions": sum(own.frequencies is None for own in self._own),
            "fingerprint": fingerprint_of(self.wanted.values()),
        }


def fingerprint_of(encodings: Iterable[Encoding]) -> str:
    """Sixteen hex digits over everything that they are made of."""
    return hashlib.sha256(repr(list(encodings)).encode()).hexdigest()[:16]


def _refuse_no_change(name: str) -> None:
    if name != NATIVE:
        raise RopewalkError(
            f"{name} changes nothing in a model that rotates nothing: expected native or log_n, or "
            f"{', '.join(STRETCHES)} for one with ALiBi or T5's bias"
        )
