"""export: a method as flags or config keys of one engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.api.shapes import shape_of
from ropewalk.engines.export.document import export_model


def export(
    config: Mapping[str, Any] | str | Path, spec: str, engine: str, length: int | None = None
) -> dict[str, Any]:
    """What to give an engine so that it computes a method: what ``ropewalk export --json`` prints.

        rw.export(config, "yarn:factor=4", "vllm")["command"]

    config  a parsed config.json, or a path or hub id as MODEL_OR_CONFIG on the command line

    The other arguments, the result and the errors: see
    ``ropewalk.engines.export.document.export_model``.
    """
    return export_model(shape_of(config), spec, engine, length=length)
