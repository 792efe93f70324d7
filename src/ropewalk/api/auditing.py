"""audit: what each engine computes for a config, and what it should say instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.api.shapes import shape_of
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.audit import audit_model
from ropewalk.engines.audit_file import audit_file
from ropewalk.integrations.loading import gguf_header


def audit(
    config: Mapping[str, Any] | str | Path,
    served_length: int | None = None,
    layer_type: str | None = None,
    *,
    against: Mapping[str, Any] | str | Path | None = None,
) -> dict[str, Any]:
    """What transformers, vLLM, SGLang and llama.cpp compute: what ``ropewalk audit --json`` prints.

    config   a parsed config.json, or a path or hub id as MODEL_OR_CONFIG on the command line; a
             .gguf file is answered for by its own header
    against  the config that a .gguf file was converted from: what the conversion lost is found

    The other arguments and the result: see ``ropewalk.engines.audit.audit_model``.
    """
    header = gguf_header(config) if isinstance(config, str | Path) else None
    if header is not None:
        meant = None if against is None else shape_of(against)
        return audit_file(header, shape_of(config), served_length, meant)
    if against is not None:
        raise RopewalkError("against: expected a .gguf file to compare with it")
    return audit_model(shape_of(config), served_length, layer_type)
