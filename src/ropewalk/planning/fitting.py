"""The longest context that fits beside the weights in a given memory.

    weights + cache(N) <= memory

cache(N) never falls as N grows, so bisection finds the last N that fits. Left out: activations,
CUDA graphs and what an engine keeps back (vLLM's --gpu-memory-utilization).
"""

from typing import Any

from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.shape import ModelShape
from ropewalk.planning.kv_cache import kv_cache


def fitting(
    shape: ModelShape, memory: int, weights: int | None, *, batch: int, dtype: str
) -> dict[str, Any]:
    """What fits: ``memory``, ``weights`` (null where they are not known, and then not counted),
    ``left`` for the cache, and ``longest``, tokens of each of ``batch`` sequences: null where the
    cache does not grow, 0 where not even the weights fit.
    """
    left = memory - (weights or 0)

    def fits(length: int) -> bool:
        taken: int = kv_cache(shape, length, batch=batch, dtype=dtype)["bytes"]
        return taken <= left

    return {
        "memory": memory,
        "weights": weights,
        "left": max(left, 0),
        "longest": None if fits(LARGEST_LENGTH) else _last(fits),
    }


def _last(fits: Any) -> int:
    """The largest length from 2 on that fits, 0 where none does."""
    if not fits(2):
        return 0
    good, bad = 2, LARGEST_LENGTH
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good
