"""A config as users hand it in, read once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.configs.shape import ModelShape, read_model
from ropewalk.core.own_positions import OwnPositions
from ropewalk.integrations.config_classes import completed_by_transformers
from ropewalk.integrations.loading import load_config
from ropewalk.integrations.own_positions import positions_of_config
from ropewalk.training.decoder_config import is_decoder, library_keys
from ropewalk.training.own_positions import positions_of_decoder


def shape_of(config: Mapping[str, Any] | str | Path) -> ModelShape:
    """The shape of a parsed config.json, or of a path or hub id as MODEL_OR_CONFIG.

    What it leaves unstated is what transformers would take, where it knows the family.

    Raises RopewalkError for what is none.
    """
    parsed = load_config(config) if isinstance(config, str | Path) else config
    stated = library_keys(parsed) if is_decoder(parsed) else parsed
    return read_model(stated, completed_by_transformers)


def positions_of(shape: ModelShape) -> list[OwnPositions]:
    """What a model has in the place of a rotation, or was trained with; empty for RoPE alone."""
    if is_decoder(shape.config):
        return positions_of_decoder(shape.config)
    return [] if shape.without_rotation is None else positions_of_config(shape.config)
