"""The encodings of a method and of the model itself, for each type of layer."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.lengths import LengthPolicy
from ropewalk.core.passes import FullPass, Pass
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.spec import NATIVE, Spec
from ropewalk.methods.stated_length import StatedLength

Encode = Callable[[str | None], Encoding | None]
"""Layer type -> the encoding wanted for layers of that type; None for ``native``."""
Native = Callable[[str | None], Encoding]
"""Layer type -> the encoding that the model ships with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMethod:
    """A method, and what it needs to become the encoding of a layer.

    default_factor, context_length  as in ``Spec.encoding``
    split                           the pass that the model is meant for; by default one that
                                    computes what it says
    """

    spec: Spec
    default_factor: float | None = None
    context_length: int | None = None
    split: Pass | None = None

    def over(self, own: Encoding) -> Encoding:
        """The method over a layer whose own encoding is ``own``."""
        encoding = self.spec.encoding(
            own.geometry,
            default_factor=self.default_factor,
            context_length=self.context_length,
            native=own,
        )
        return replace(encoding, length_policy=self._policy(encoding))

    def leaves(self, own: Encoding) -> bool:
        """Whether it is what the model does anyway."""
        as_it_is = self._policy(own) == own.length_policy
        return [part.name for part in self.spec.parts] == [NATIVE] and as_it_is

    def length(self, shape: ModelShape) -> StatedLength:
        """What a model of this shape states, by its layers that see farthest."""
        own = _native(shape, None)
        resolved = self.spec.resolved(
            own.geometry, default_factor=self.default_factor, context_length=self.context_length
        )
        return StatedLength.of(resolved, self.over(own))

    def _policy(self, encoding: Encoding) -> LengthPolicy:
        return (self.split or FullPass()).policy(encoding.length_policy)


def encoders(
    shape: ModelShape,
    spec: Spec,
    *,
    default_factor: float | None = None,
    context_length: int | None = None,
    split: Pass | None = None,
) -> tuple[Encode, Native]:
    """As ``encoders_of``, of what ``LayerMethod`` is made of."""
    method = LayerMethod(
        spec=spec, default_factor=default_factor, context_length=context_length, split=split
    )
    return encoders_of(shape, method)


def encoders_of(shape: ModelShape, method: LayerMethod) -> tuple[Encode, Native]:
    """The encodings of a method and of the model itself, by layer type.

    Raises RopewalkError for a model whose config has no rotary encoding.
    """
    shape.rope()  # a config without a rotary encoding is told before anything runs

    def native(layer_type: str | None) -> Encoding:
        return _native(shape, layer_type)

    def encode(layer_type: str | None) -> Encoding | None:
        own = native(layer_type)
        return None if method.leaves(own) else _untrained(method.over(own), method.spec)

    return encode, native


def _native(shape: ModelShape, layer_type: str | None) -> Encoding:
    # Families that scale their queries do so themselves, before attention is called.
    return replace(native_encoding(shape.rope(layer_type)), score_mods=())


def _untrained(encoding: Encoding, spec: Spec) -> Encoding:
    """Raises RopewalkError for what has parameters that this model was not trained with."""
    if encoding.trained:
        raise RopewalkError(
            f"{spec.text} is trained with a model, which this one was not: expected a method "
            "that needs no training, such as yarn; or train one (ropewalk train --encoding)"
        )
    return encoding
