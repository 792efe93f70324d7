"""GGUF files that transformers would load as another model than llama.cpp runs."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ropewalk.configs.gguf import config_of, dropped_scaling, read_header
from ropewalk.configs.shape import read_model
from ropewalk.core.errors import RopewalkError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def refuse_dropped_scaling(path: Path) -> None:
    """Refuse rope scaling that transformers would drop without a word."""
    dropped = dropped_scaling(read_header(path))
    if dropped is not None:
        raise RopewalkError(
            f"{path}: its rope scaling ({dropped}) is dropped by transformers, which would "
            "compute plain RoPE; expected a file without; use the model's safetensors folder"
        )


def refuse_other_channels(path: Path, config: "PretrainedConfig") -> None:
    """Refuse a file whose rotary channels or base transformers does not take over."""
    try:
        stated = read_model(config_of(read_header(path))).rope().geometry()
        loaded = read_model(config.to_dict()).rope().geometry()
    except RopewalkError:
        return  # a rotation that cannot be compared is shown by the proof of an installation
    for name in ("rotary_dim", "rope_theta"):
        ours, theirs = getattr(stated, name), getattr(loaded, name)
        if not math.isclose(ours, theirs, rel_tol=1e-6):
            raise RopewalkError(
                f"{path}: {name} is {ours:g} in its header and {theirs:g} in what transformers "
                "loads; expected the same; use the model's safetensors folder"
            )
