"""extend and inspect: one model or one config, one encoding."""

from pathlib import Path
from typing import Any

from torch import nn

from ropewalk.integrations.session import AnyExtension, extend_with
from ropewalk.methods.inspection import inspect_model
from ropewalk.methods.sidecar import in_force, read_sidecar
from ropewalk.methods.spec import parse_spec, with_arguments
from ropewalk.opening.shapes import Config, positions_of, shape_of, tokens_of


def extend(model: nn.Module, spec: str, **parameters: object) -> AnyExtension:
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


def inspect(
    config: Config,
    context_length: int | str | None = None,
    method: str | None = None,
    layer_type: str | None = None,
) -> dict[str, Any]:
    """The position encoding in force: the document that ``ropewalk inspect --json`` prints.

    config          a parsed config.json, a path or hub id as MODEL_OR_CONFIG on the command line, a
                    config object of transformers, or a model (of an extended one, what its config
                    asks for: ``.describe()`` of the extension says what is in force)
    context_length  tokens, or trained lengths like ``"4x"``

    The other arguments and the result: see ``ropewalk.methods.inspection.inspect_model``. Beside
    it, ``positions`` are what a model has where nothing rotates, or was trained with, and what
    limits each.
    """
    own = read_sidecar(Path(config)) if isinstance(config, str | Path) else None
    shape = shape_of(config)
    document = inspect_model(
        shape,
        context_length=tokens_of(context_length, config, layer_type),
        method=own if method is None else in_force(parse_spec(method), own),
        layer_type=layer_type,
    )
    return {**document, "positions": [each.document() for each in positions_of(shape)]}
