"""The library's own rotary modules: the truth that a config is held against.

A model is built without weights, on the meta device; every rotary module of its text model is
built once more from the same config, and asked for its buffers.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

ROPE_TYPES: Mapping[str, Mapping[str, Any]] = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 1024},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": 1024},
    "llama3": {
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 1024,
    },
    "proportional": {"factor": 4.0, "partial_rotary_factor": 0.5},
}
"""Rope types and keys that a config is given beside its default."""


class NotBuilt(Exception):
    """A model that the library does not build from its default config, with its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turning:
    """What a rotary module holds for one layer type; None where it knows one kind."""

    layer_type: str | None
    inv_freq: tuple[float, ...]
    attention_factor: float


def model_types() -> tuple[str, ...]:
    """Every model type with a text decoder or encoder, sorted."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return tuple(sorted({*CONFIG_MAPPING.keys()} & {*MODEL_MAPPING_NAMES}))


def config_of(model_type: str) -> Any:
    """The default config of a type. Raises NotBuilt where its class takes none."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[model_type]()
    except Exception as error:
        raise NotBuilt(_said(error)) from error


def turnings(config: Any) -> tuple[Turning, ...]:
    """What turns in the text model of ``config``; empty where it builds no rotary module.

    Raises NotBuilt where the library raises.
    """
    text = config.get_text_config(decoder=True)
    try:
        with torch.device("meta"):
            model = _model(text, config)
        modules = {type(m): m for m in model.modules() if _is_rotary(m, text)}
        return tuple(found for kind in modules for found in _held(kind, text))
    except Exception as error:
        raise NotBuilt(_said(error)) from error


def _model(text: Any, whole: Any) -> Any:
    from transformers import AutoModel
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    return AutoModel.from_config(deepcopy(text if type(text) in MODEL_MAPPING else whole))


def _is_rotary(module: nn.Module, text: Any) -> bool:
    name = type(module).__name__
    named = "Rotary" in name and "Vision" not in name
    config = getattr(module, "config", None)
    return named and (config is None or type(config) is type(text))


def _held(kind: type[nn.Module], text: Any) -> Iterator[Turning]:
    module = kind(deepcopy(text))
    for name, buffer in module.named_buffers():
        if not name.endswith("inv_freq") or name.endswith("original_inv_freq"):
            continue
        layer_type = name.removesuffix("inv_freq").removesuffix("_") or None
        factor = f"{layer_type}_attention_scaling" if layer_type else "attention_scaling"
        yield Turning(
            layer_type=layer_type,
            inv_freq=tuple(buffer.double().flatten().tolist()),
            attention_factor=float(getattr(module, factor, 1.0)),
        )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:160]
