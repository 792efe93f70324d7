"""Memory of a key-value cache, from the config alone.

    bytes = B * w * sum over layers of  t_l * e_l

    t_l = N in a full layer, min(N, window) in a sliding one, 0 in one without attention
    e_l  numbers of one token in that layer: ``ropewalk.configs.cache``

B  sequences, N  tokens of each, w  bytes of one number

An engine's blocks are counted in ``blocks``. Left out: scales beside 8-bit numbers, and the states
of linear and recurrent layers, which do not grow with N. Engines that keep whole keys in sliding
layers, or expand latent attention, take more.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.attention import Chunked
from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.shape import LayerKind, ModelShape
from ropewalk.configs.unknown import known
from ropewalk.core.errors import RopewalkError
from ropewalk.planning.blocks import in_blocks

DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {"bf16": 2, "fp16": 2, "fp32": 4, "fp8": 1, "int8": 1}
)
LARGEST_BATCH = 2**20


def kv_cache(
    shape: ModelShape, length: int, *, batch: int = 1, dtype: str = "bf16"
) -> dict[str, Any]:
    """Bytes of the cache of ``batch`` sequences of ``length`` tokens.

    dtype  of the cached numbers: bf16, fp16, fp32, fp8 or int8

    Returns ``batch``, ``dtype``, ``tokens``, ``bytes``, ``bytes_per_token`` (what one more token
    of one sequence takes), ``layers``: for each kind ``kind``, ``layers``, ``tokens`` kept,
    ``numbers_per_token`` of one layer and ``bytes``; and ``blocks``: for each engine ``block``,
    tokens that it takes at once, and ``bytes`` in whole blocks.

    Raises RopewalkError for sizes that are missing or none, and for layers whose cache is not
    known.
    """
    check_request(length, batch, dtype)
    width = DTYPE_BYTES[dtype]
    rows = _rows(known(shape.kinds), length, batch * width)
    growing = [row for row in rows if row["tokens"] == length]
    return {
        "batch": batch,
        "dtype": dtype,
        "tokens": length,
        "bytes": sum(row["bytes"] for row in rows),
        "bytes_per_token": width * sum(r["layers"] * r["numbers_per_token"] for r in growing),
        "layers": rows,
        "blocks": in_blocks(rows, length, batch * width),
    }


def check_request(length: int, batch: int, dtype: str) -> None:
    """RopewalkError for a length, batch or dtype that is none."""
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise RopewalkError(f"dtype={dtype!r:.40}: expected one of {', '.join(DTYPE_BYTES)}")
    _check(length, "length", 2, LARGEST_LENGTH)
    _check(batch, "batch", 1, LARGEST_BATCH)


def _rows(kinds: tuple[LayerKind, ...], length: int, width: int) -> list[dict[str, Any]]:
    """A row for all layers that keep the same, whatever else tells them apart."""
    counts: dict[tuple[str, int, int], int] = {}
    for kind in kinds:
        numbers = known(kind.cache).numbers_per_token
        window = kind.attention.window
        tokens = 0 if not numbers else length if window is None else min(length, window)
        row = (kept_as(kind), tokens, numbers)
        counts[row] = counts.get(row, 0) + len(kind.layers)
    return [
        {
            "kind": name,
            "layers": count,
            "tokens": tokens,
            "numbers_per_token": numbers,
            "bytes": tokens * numbers * count * width,
        }
        for (name, tokens, numbers), count in counts.items()
    ]


def kept_as(kind: LayerKind) -> str:
    """How the cache of such layers grows: full, sliding (chunks too stop growing) or none."""
    if not known(kind.cache).numbers_per_token:
        return "none"
    return "sliding" if isinstance(kind.attention, Chunked) else kind.attention.name


def _check(value: int, name: str, smallest: int, largest: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not smallest <= value <= largest:
        raise RopewalkError(f"{name}={value!r:.40}: expected {smallest} to {largest:,}")
