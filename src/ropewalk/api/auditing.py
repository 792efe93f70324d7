"""audit: what each engine computes for a config, and what it should say instead."""

from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.engines.audit import audit_model, plain_finding
from ropewalk.engines.audit_file import audit_file
from ropewalk.engines.findings.files import methods_beside
from ropewalk.integrations.loading import gguf_header
from ropewalk.opening.shapes import Config, shape_of, tokens_of


def audit(
    config: Config,
    served_length: int | str | None = None,
    layer_type: str | None = None,
    *,
    against: Config | None = None,
) -> dict[str, Any]:
    """What transformers, vLLM, SGLang and llama.cpp compute: what ``ropewalk audit --json`` prints.

    config         as ``rw.inspect`` takes it; a .gguf file is answered for by its own header
    served_length  tokens, or trained lengths like ``"4x"``
    against        the config that a .gguf file was converted from: finds what that lost

    The other arguments and the result: see ``ropewalk.engines.audit.audit_model``.
    """
    tokens = tokens_of(served_length, config, layer_type)
    header = gguf_header(config) if isinstance(config, str | Path) else None
    if header is not None:
        meant = None if against is None else shape_of(against)
        return audit_file(header, shape_of(config), tokens, meant)
    if against is not None:
        raise RopewalkError("against: expected a .gguf file to compare with it")
    document = audit_model(shape_of(config), tokens, layer_type)
    beside = methods_beside(Path(config)) if isinstance(config, str | Path) else []
    return {**document, "findings": [*map(plain_finding, beside), *document["findings"]]}
