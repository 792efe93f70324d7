"""audit: what each engine computes for a config, and what it should say instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.configs.shape import read_model
from ropewalk.engines.audit import audit_model
from ropewalk.integrations.loading import load_config


def audit(
    config: Mapping[str, Any] | str | Path,
    served_length: int | None = None,
    layer_type: str | None = None,
) -> dict[str, Any]:
    """What transformers, vLLM, SGLang and llama.cpp compute: what ``ropewalk audit --json`` prints.

    config  a parsed config.json, or a path or hub id as MODEL_OR_CONFIG on the command line

    The other arguments and the result: see ``ropewalk.engines.audit.audit_model``.
    """
    parsed = load_config(config) if isinstance(config, str | Path) else config
    return audit_model(read_model(parsed), served_length, layer_type)
