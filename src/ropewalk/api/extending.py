"""extend and inspect: one model or one config, one encoding."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.api.shapes import shape_of
from ropewalk.configs.shape import read_model
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass, Pass
from ropewalk.integrations.extension import Extension
from ropewalk.integrations.installation import install
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.inspection import inspect_model
from ropewalk.methods.spec import NATIVE, Spec, parse_spec, with_arguments


def extend(model: nn.Module, spec: str, **parameters: object) -> Extension:
    """Put a method into a transformers model, in place, right under a KV cache.

        with rw.extend(model, "yarn", factor=4):
            model.generate(...)

    spec        a method spec; ``native`` is the model's own encoding
    parameters  those of the method, where the spec has one part

    Returns the extension: a context manager; ``.remove()`` restores the model bit for bit,
    ``.describe()`` says what changed. Raises RopewalkError for a bad spec, a model that is
    extended already, and a model whose layout is unknown or that fails the proof of the
    installation.
    """
    return extend_with(model, with_arguments(parse_spec(spec), parameters))


def extend_with(
    model: nn.Module,
    spec: Spec,
    *,
    default_factor: float | None = None,
    context_length: int | None = None,
    split: Pass | None = None,
) -> Extension:
    """As ``extend``, with what ``Spec.encoding`` needs for an omitted or symbolic factor.

    split  the pass that the model is meant for; by default one that computes what it says
    """
    shape = read_model(config_of(model))
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
        policy = (split or FullPass()).policy(encoding.length_policy)
        return replace(encoding, length_policy=policy)

    def encode(layer_type: str | None) -> Encoding | None:
        own = native(layer_type).length_policy
        as_it_is = (split or FullPass()).policy(own) == own
        shipped = [part.name for part in spec.parts] == [NATIVE] and as_it_is
        return None if shipped else wanted(layer_type)

    return install(model, encode, native)


def config_of(model: nn.Module) -> dict[str, Any]:
    """The config of a transformers model as a dictionary; RopewalkError for anything else."""
    config = getattr(model, "config", None)
    to_dict = getattr(config, "to_dict", None)
    if to_dict is None:
        raise RopewalkError(
            f"{type(model).__name__} has no config: expected a model of the transformers library"
        )
    return dict(to_dict())


def inspect(
    config: Mapping[str, Any] | str | Path,
    context_length: int | None = None,
    method: str | None = None,
    layer_type: str | None = None,
) -> dict[str, Any]:
    """The position encoding in force: the document that ``ropewalk inspect --json`` prints.

    config  a parsed config.json, or a path or hub id as MODEL_OR_CONFIG on the command line

    The other arguments and the result: see ``ropewalk.methods.inspection.inspect_model``.
    """
    return inspect_model(
        shape_of(config), context_length=context_length, method=method, layer_type=layer_type
    )
