"""A config as users hand it in, read once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.configs.shape import ModelShape, read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.config_classes import completed_by_transformers
from ropewalk.integrations.loading import load_config
from ropewalk.training.decoder_config import DecoderConfig


def shape_of(config: Mapping[str, Any] | str | Path) -> ModelShape:
    """The shape of a parsed config.json, or of a path or hub id as MODEL_OR_CONFIG.

    What it leaves unstated is what transformers would take, where it knows the family.

    Raises RopewalkError for what is none.
    """
    parsed = load_config(config) if isinstance(config, str | Path) else config
    shape = read_model(parsed, completed_by_transformers)
    _refuse_other_encodings(parsed)
    return shape


def _refuse_other_encodings(config: Mapping[str, Any]) -> None:
    """A decoder of ``ropewalk train`` states method specs, which no rope field can say."""
    specs = config.get("encodings") if config.get("model_type") == DecoderConfig.model_type else ()
    names = list(map(str, specs)) if isinstance(specs, list | tuple) else []
    if names and {*names} != {"none"}:
        raise RopewalkError(
            f"trained with {', '.join(names)}: expected a model with a rope block in its config; "
            "compare, verify and generate take this one"
        )
