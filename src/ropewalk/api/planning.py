"""plan: which methods reach a length, and what that takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ropewalk.api.shapes import shape_of
from ropewalk.planning.plan import plan_model


def plan(
    config: Mapping[str, Any] | str | Path, length: int, batch: int = 1, dtype: str = "bf16"
) -> dict[str, Any]:
    """Methods, key-cache memory and flags for a length: what ``ropewalk plan --json`` prints.

    config  a parsed config.json, or a path or hub id as MODEL_OR_CONFIG on the command line

    The other arguments, the result and the errors: see ``ropewalk.planning.plan.plan_model``.
    """
    return plan_model(shape_of(config), length, batch=batch, dtype=dtype)
