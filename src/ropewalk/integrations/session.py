"""A transformers model into which methods are put in turn."""

from typing import Any

import torch
from torch import nn

from ropewalk.configs.shape import read_model
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import Pass
from ropewalk.integrations.config_classes import completed_by_transformers
from ropewalk.integrations.encoded import EncodedExtension, EncodedModel
from ropewalk.integrations.extension import EXTENSION, Extension
from ropewalk.integrations.feeding import WHOLE, Feeding
from ropewalk.integrations.installation import install
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.own_biases import OwnBiases, own_encoding
from ropewalk.integrations.placement import input_device
from ropewalk.integrations.probe import family_of
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.wrappers import measured, unwrapped
from ropewalk.methods.by_layer import LayerMethod, encoders_of
from ropewalk.methods.extended import extended
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.sidecar import in_force
from ropewalk.methods.spec import Spec

AnyExtension = Extension | EncodedExtension | OwnBiases
"""An encoding in force, in whichever way the model takes it."""


class Session:
    """A model that stays open: its layout is measured once, and each seam proven once."""

    def __init__(self, model: nn.Module, own: Spec | None = None, feeding: Feeding = WHOLE) -> None:
        """own      what ``native`` stands for, where the checkpoint's ropewalk.json says it
        feeding  how much of each pass is fed in this process
        """
        self.model, self._own, self._feeding = measured(model), own, feeding
        self._shape = read_model(config_of(self.model), completed_by_transformers)
        self._extension: AnyExtension | None = None
        self._in_force: tuple[Spec, int | None, Pass] | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return input_device(self.model)

    def use(self, method: Spec, length: int, split: Pass) -> TransformersScorer:
        """The model with a method, until the next call.

        length  of the passes to come, which resolves ``factor=length``
        split   the pass that the model is meant for

        Raises RopewalkError for a method that cannot be put into the model.
        """
        method = in_force(method, self._own)
        wanted = (method, length if method.depends_on_length else None, split)
        if wanted != self._in_force:
            if isinstance(self._extension, Extension):
                asked = LayerMethod(spec=method, context_length=length, split=split)
                encode, _ = encoders_of(self._shape, asked)
                self._extension.swap(encode, asked.length(self._shape))
            else:
                self.close()
                self._extension = extend_with(
                    self.model,
                    method,
                    context_length=length,
                    split=split,
                    feeding=self._feeding,
                )
            self._in_force = wanted
        return TransformersScorer(self.model)

    def close(self) -> None:
        """The model as it was opened."""
        if self._extension is not None:
            self._extension.remove()
        self._extension = self._in_force = None


def extend_with(
    model: nn.Module,
    spec: Spec,
    *,
    default_factor: float | None = None,
    context_length: int | None = None,
    split: Pass | None = None,
    feeding: Feeding = WHOLE,
) -> AnyExtension:
    """As ``rw.extend``, with what ``LayerMethod`` needs for an omitted or symbolic factor.

    feeding  how much of each pass is fed in this process
    """
    model = unwrapped(model)
    asked = LayerMethod(
        spec=spec, default_factor=default_factor, context_length=context_length, split=split
    )

    def change(own: Encoding) -> Encoding:
        return extended(own, asked.over(own), spec.text)

    if isinstance(model, EncodedModel):
        _require_whole(model, feeding)
        return EncodedExtension(model, change, spec.text)
    shape = read_model(config_of(model), completed_by_transformers)
    if shape.without_rotation is not None:
        _require_whole(model, feeding)
        return OwnBiases(model, shape, change, spec.text)
    encode, native = encoders_of(shape, asked)
    return install(model, encode, native, asked.length(shape), feeding)


def _require_whole(model: nn.Module, feeding: Feeding) -> None:
    if feeding.asks_attention:
        raise RopewalkError(
            f"{family_of(model)} over ranks: its attention does not go through the library's "
            "interface, so that its heads cannot be shared out; run it on one rank"
        )


def own_of(loaded: LoadedModel) -> Encoding:
    """What ``native`` stands for in a checkpoint: its ropewalk.json wins over its config."""
    native = native_of(loaded.model)
    if loaded.method is None:
        return native
    return loaded.method.encoding(native.geometry, native=native)


def native_of(model: nn.Module) -> Encoding:
    """What ``native`` stands for, of the layers that rotate and see farthest."""
    if isinstance(model, EncodedModel):
        rotating = [each for each in model.encodings if each.frequencies is not None]
        return (rotating or list(model.encodings))[0]
    shape = read_model(config_of(model), completed_by_transformers)
    if shape.without_rotation is not None:
        return own_encoding(model, shape)
    return native_encoding(shape.rope())


def trained_length_of(model: nn.Module) -> int:
    """L0, or the length that a config states where nothing rotates; RopewalkError without one."""
    return read_model(config_of(model), completed_by_transformers).trained_length


def config_of(model: nn.Module) -> dict[str, Any]:
    """The config of a transformers model as a dictionary; RopewalkError for anything else."""
    extension = getattr(model, EXTENSION, None)
    # An extended model's own copy states another length.
    config: Any = getattr(model, "config", None)
    if isinstance(extension, Extension):
        config = extension.stock_config
    to_dict = getattr(config, "to_dict", None)
    if to_dict is None:
        raise RopewalkError(
            f"{type(model).__name__} has no config: expected a model of the transformers library"
        )
    return dict(to_dict())
