"""plan: which methods reach a length, and what that takes."""

from pathlib import Path
from typing import Any

from ropewalk.core.sizes import memory_in_bytes
from ropewalk.opening.shapes import Config, positions_of, shape_of, tokens_of
from ropewalk.planning.plan import plan_model
from ropewalk.planning.weights import weight_bytes


def plan(
    config: Config,
    length: int | str,
    batch: int = 1,
    dtype: str = "bf16",
    *,
    trained_length: int | None = None,
    memory: int | str | None = None,
) -> dict[str, Any]:
    """Methods, key-cache memory and flags for a length: what ``ropewalk plan --json`` prints.

    config  as ``rw.inspect`` takes it; weights of a folder are counted where ``memory`` is given
    length  tokens, or trained lengths like ``"4x"``
    memory  bytes, or text such as 24GB, for the longest context that fits

    The other arguments, the result and the errors: see ``ropewalk.planning.plan.plan_model``.
    ``positions`` are those of ``inspect``.
    """
    shape, asked = shape_of(config), memory is not None
    local = isinstance(config, str | Path) and Path(config).exists()
    document = plan_model(
        shape,
        tokens_of(length, config) or 0,
        batch=batch,
        dtype=dtype,
        trained_length=trained_length,
        memory=memory_in_bytes(str(memory)) if asked else None,
        weights=weight_bytes(Path(str(config))) if asked and local else None,
    )
    return {**document, "positions": [each.document() for each in positions_of(shape)]}
