"""A config as users hand it in, read once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.configs.shape import ModelShape, read_model
from ropewalk.integrations.loading import load_config


def shape_of(config: Mapping[str, Any] | str | Path) -> ModelShape:
    """The shape of a parsed config.json, or of a path or hub id as MODEL_OR_CONFIG.

    Raises RopewalkError for what is none.
    """
    return read_model(load_config(config) if isinstance(config, str | Path) else config)
