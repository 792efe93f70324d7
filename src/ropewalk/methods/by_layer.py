"""The encodings of a method and of the model itself, for each type of layer."""

from collections.abc import Callable
from dataclasses import replace

from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass, Pass
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.spec import NATIVE, Spec

Encode = Callable[[str | None], Encoding | None]
"""Layer type -> the encoding wanted for layers of that type; None for ``native``."""
Native = Callable[[str | None], Encoding]
"""Layer type -> the encoding that the model ships with."""


def encoders(
    shape: ModelShape,
    spec: Spec,
    *,
    default_factor: float | None = None,
    context_length: int | None = None,
    split: Pass | None = None,
) -> tuple[Encode, Native]:
    """The encodings of a method and of the model itself, by layer type.

    default_factor, context_length  as in ``Spec.encoding``
    split                           the pass that the model is meant for; by default one that
                                    computes what it says

    Raises RopewalkError for a model whose config has no rotary encoding.
    """
    shape.rope()  # a config without a rotary encoding is told before anything runs

    def native(layer_type: str | None) -> Encoding:
        # Families that scale their queries do so themselves, before attention is called.
        return replace(native_encoding(shape.rope(layer_type)), score_mods=())

    def wanted(layer_type: str | None) -> Encoding:
        encoding = spec.encoding(
            shape.rope(layer_type).geometry(),
            default_factor=default_factor,
            context_length=context_length,
            native=native(layer_type),
        )
        if encoding.trained:
            raise RopewalkError(
                f"{spec.text} is trained with a model, which this one was not: expected a method "
                "that needs no training, such as yarn; or train one (ropewalk train --encoding)"
            )
        policy = (split or FullPass()).policy(encoding.length_policy)
        return replace(encoding, length_policy=policy)

    def encode(layer_type: str | None) -> Encoding | None:
        own = native(layer_type).length_policy
        as_it_is = (split or FullPass()).policy(own) == own
        shipped = [part.name for part in spec.parts] == [NATIVE] and as_it_is
        return None if shipped else wanted(layer_type)

    return encode, native
