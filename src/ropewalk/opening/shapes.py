"""A config as users hand it in, read once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from torch import nn

from ropewalk.configs.defaults import no_library
from ropewalk.configs.shape import ModelShape, read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.core.own_positions import OwnPositions
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.integrations.config_classes import completed_by_transformers
from ropewalk.integrations.loading import load_config
from ropewalk.integrations.own_positions import positions_of_config
from ropewalk.integrations.session import config_of
from ropewalk.training.decoder_config import is_decoder, library_keys
from ropewalk.training.own_positions import positions_of_decoder


class LibraryConfig(Protocol):
    """A config object of transformers."""

    def to_dict(self) -> dict[str, Any]: ...


Config: TypeAlias = Mapping[str, Any] | str | Path | LibraryConfig | nn.Module
"""A parsed config.json, a path or hub id as MODEL_OR_CONFIG on the command line, a config object of
transformers, or a model of it."""


def shape_of(config: Config) -> ModelShape:
    """The shape of a config. What it leaves unstated is what transformers would take, where it
    knows the family.

    Raises RopewalkError for what is none.
    """
    parsed = parsed_config(config)
    if is_decoder(parsed):
        # Stated in full; once a checkpoint was opened, transformers would complete it as well.
        return read_model(library_keys(parsed), no_library)
    return read_model(parsed, completed_by_transformers)


def parsed_config(config: Config) -> Mapping[str, Any]:
    """The keys of a config.json. Raises RopewalkError for what is no config."""
    if isinstance(config, nn.Module):
        return config_of(getattr(config, "_orig_mod", config))
    if isinstance(config, str | Path):
        return load_config(config)
    if isinstance(config, Mapping):
        return config
    if not hasattr(config, "to_dict"):
        raise RopewalkError(
            f"{type(config).__name__}: expected a parsed config.json, its path, or a config or "
            "model of transformers"
        )
    return config.to_dict()


def tokens_of(
    length: int | str | None, config: Config, layer_type: str | None = None
) -> int | None:
    """Tokens of ``4096`` or, in trained lengths, ``"4x"``; None stays None.

    Raises RopewalkError for what is no length, or a config without a trained length.
    """
    if not isinstance(length, str):
        return length
    shape = shape_of(config)
    trained = shape.trained_length if layer_type is None else shape.rope(layer_type).trained_length
    return length_in_tokens(length, trained)


def positions_of(shape: ModelShape) -> list[OwnPositions]:
    """What a model has in the place of a rotation, or was trained with; empty for RoPE alone."""
    if is_decoder(shape.config):
        return positions_of_decoder(shape.config)
    return [] if shape.without_rotation is None else positions_of_config(shape.config)
