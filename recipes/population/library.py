"""The library's own rotary modules: the truth that a reading of a config is held against.

A model is built without weights, on the meta device. Every rotary module of its text model is
built once more from the same config, and asked for its buffers.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_ORIGINAL = 1024
_SCALINGS: Mapping[str, Mapping[str, Any]] = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": _ORIGINAL},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": _ORIGINAL},
    "llama3": {
        **{"factor": 4.0, "original_max_position_embeddings": _ORIGINAL},
        **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    },
    "proportional": {"factor": 4.0, "partial_rotary_factor": 0.5},
}
DEFAULT = "default"
ROPE_TYPES = (DEFAULT, *_SCALINGS)
_NOT_ASKED = ("blt", "codegen", "gptj", "pi0", "roformer")
"""Types that rotate, and whose text model has no rotary module built from its own config."""
_DECODERS = (
    *("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM"),
)


class NotBuilt(Exception):
    """A model that the library does not build, with its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turning:
    """What a rotary module holds for one layer type; None where it knows one kind."""

    layer_type: str | None
    inv_freq: tuple[float, ...]
    attention_factor: float


def model_types() -> tuple[str, ...]:
    """Every model type whose model has a text decoder or a text encoder, sorted."""
    from transformers.models.auto import modeling_auto

    tables = (getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES") for name in _DECODERS)
    names = {name for table in tables for name in table} - {*_NOT_ASKED}
    return tuple(sorted(names & {*modeling_auto.MODEL_MAPPING_NAMES}))


def default_config(model_type: str) -> dict[str, Any]:
    """The default config of a type, as config.json has it. Raises NotBuilt."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        return dict(CONFIG_MAPPING[model_type]().to_dict())
    except Exception as error:  # any type: 800 classes have checks of their own
        raise NotBuilt(_said(error)) from error


def rotary_kinds(config: Mapping[str, Any]) -> tuple[type[nn.Module], ...]:
    """The classes of rotary modules in its text model; empty for none. Raises NotBuilt."""
    from transformers import AutoModel
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    try:
        whole = _loaded(config)
        text = whole.get_text_config(decoder=True)
        with torch.device("meta"):
            model = AutoModel.from_config(text if type(text) in MODEL_MAPPING else whole)
    except Exception as error:
        raise NotBuilt(_said(error)) from error
    kinds = {type(m): getattr(m, "config", None) for m in model.modules() if _is_rotary(m)}
    own = tuple(kind for kind, inner in kinds.items() if type(inner) is type(text))
    return own or tuple(kind for kind, inner in kinds.items() if inner is None)


def turnings(config: Mapping[str, Any], kinds: tuple[type[nn.Module], ...]) -> tuple[Turning, ...]:
    """What modules of these classes hold for a config. Raises NotBuilt."""
    try:
        text = _loaded(config).get_text_config(decoder=True)
        return tuple(found for kind in kinds for found in _held(kind(text)))
    except Exception as error:
        raise NotBuilt(_said(error)) from error


def scaled(config: Mapping[str, Any], rope_type: str, turning: Turning) -> dict[str, Any] | None:
    """The config under another rope type; None where it has no rope dict to say it in."""
    changed = deepcopy(dict(config))
    text = _text_section(changed)
    rope = text.get("rope_parameters")
    if not isinstance(rope, dict):
        return None
    keys = {**_SCALINGS[rope_type], "rope_type": rope_type}
    if rope_type == "longrope":
        pairs = len(turning.inv_freq)
        keys |= {"short_factor": [1.0] * pairs, "long_factor": [2.0] * pairs}
    inner = rope.get(turning.layer_type) if turning.layer_type else rope
    if not isinstance(inner, dict):
        return None
    inner.update(keys)
    return changed


def length_of(rope_type: str) -> int | None:
    """The length at which a module that was just built holds its frequencies."""
    return _ORIGINAL if rope_type == "longrope" else None


def _loaded(config: Mapping[str, Any]) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[config["model_type"]].from_dict(deepcopy(dict(config)))


def _text_section(config: dict[str, Any]) -> dict[str, Any]:
    for name in ("thinker_config", "vlm_config", "text_config", "decoder"):
        if isinstance(config.get(name), dict):
            return _text_section(config[name])
    return config


def _is_rotary(module: nn.Module) -> bool:
    name = type(module).__name__
    return "Rotary" in name and "Vision" not in name


def _held(module: nn.Module) -> Iterator[Turning]:
    for name, buffer in module.named_buffers():
        if name.endswith("inv_freq") and not name.endswith("original_inv_freq"):
            layer_type = name.removesuffix("inv_freq").removesuffix("_") or None
            factor = f"{layer_type}_attention_scaling" if layer_type else "attention_scaling"
            yield Turning(
                layer_type=layer_type,
                inv_freq=tuple(buffer.double().flatten().tolist()),
                attention_factor=float(getattr(module, factor, 1.0)),
            )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:120]
