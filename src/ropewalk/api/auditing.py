"""audit: what each engine computes for a config, and what it should say instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.api.shapes import shape_of
from ropewalk.engines.audit import audit_model


def audit(
    config: Mapping[str, Any] | str | Path,
    served_length: int | None = None,
    layer_type: str | None = None,
) -> dict[str, Any]:
    """What transformers, vLLM, SGLang and llama.cpp compute: what ``ropewalk audit --json`` prints.

    config  a parsed config.json, or a path or hub id as MODEL_OR_CONFIG on the command line

    The other arguments and the result: see ``ropewalk.engines.audit.audit_model``.
    """
    return audit_model(shape_of(config), served_length, layer_type)
