"""A config as users hand it in, read once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.configs.shape import ModelShape, read_model
from ropewalk.integrations.config_classes import completed_by_transformers
from ropewalk.integrations.loading import load_config


def shape_of(config: Mapping[str, Any] | str | Path) -> ModelShape:
    """The shape of a parsed config.json, or of a path or hub id as MODEL_OR_CONFIG.

    What it leaves unstated is what transformers would take, where it knows the family.

    Raises RopewalkError for what is none.
    """
    parsed = load_config(config) if isinstance(config, str | Path) else config
    return read_model(parsed, completed_by_transformers)
