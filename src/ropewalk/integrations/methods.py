"""The methods that a transformers model can take, as a verification asks for them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.extension import EXTENSION
from ropewalk.integrations.feeding import WHOLE, Feeding
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.session import AnyExtension, extend_with, native_of
from ropewalk.methods.spec import NATIVE, Spec, parse_spec


@dataclass(frozen=True, slots=True)
class InForce:
    """An extension, as a verification reads it."""

    extension: AnyExtension

    @property
    def promised(self) -> bool:
        """Whether no layer's encoding depends on how a sequence was fed."""
        return all(each.path_independent for each in self.extension.wanted.values())

    @property
    def both_ways(self) -> bool:
        return self.extension.both_ways

    @property
    def layout(self) -> dict[str, Any]:
        return self.extension.describe()


@dataclass(frozen=True, slots=True, eq=False)
class TransformersMethods:
    """Puts them into a model as it was loaded, one at a time.

    feeding  how much of each pass is fed in this process

    Raises RopewalkError for a model that is extended.
    """

    model: nn.Module
    feeding: Feeding = WHOLE

    def __post_init__(self) -> None:
        if getattr(self.model, EXTENSION, None) is not None:
            raise RopewalkError(
                "the model is extended: expected it as it was loaded; call .remove() on its "
                "extension first"
            )

    def at_rest(self) -> AbstractContextManager[None]:
        """In eval mode, as if it had run nothing before; afterwards as it was."""
        return at_rest(self.model)

    def native(self) -> AbstractContextManager[InForce]:
        """Its own encoding; RopewalkError for a family that cannot be extended."""
        return self._installed(parse_spec(NATIVE))

    def check(self, spec: Spec, **given: Any) -> None:
        """RopewalkError for a spec with which there is no encoding."""
        native = native_of(self.model)
        spec.encoding(native.geometry, native=native, **given)

    def applied(self, spec: Spec, **given: Any) -> AbstractContextManager[InForce]:
        """A method in force; ``given`` as ``extend_with`` takes it."""
        return self._installed(spec, **given)

    @contextmanager
    def _installed(self, spec: Spec, **given: Any) -> Iterator[InForce]:
        with extend_with(self.model, spec, feeding=self.feeding, **given) as extension:
            yield InForce(extension)
