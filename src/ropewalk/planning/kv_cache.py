"""Memory of a key-value cache, from the config alone.

    bytes = B * w * sum over layers of  t_l * e_l

    t_l = N in a full layer, min(N, window) in a sliding one, 0 in one without attention
    e_l = 2 g d           keys and values of g key heads of d channels: grouped heads
        = g (d_k + d_v)   where values have a width of their own
        = c + r (+ i)     multi-head latent attention: the latent vector, the shared rotary key,
                          and the indexer's key where there is one

B  sequences, N  tokens of each, w  bytes of one number, g  num_key_value_heads, d  head_dim,
c  kv_lora_rank, r  qk_rope_head_dim, i  index_head_dim

Left out: an engine's blocks and padding, scales beside 8-bit numbers, and the states of linear
and recurrent layers, which do not grow with N. Engines that keep whole keys in sliding layers,
or expand latent attention, take more.

Source: the sizes are the architectures'; DeepSeek-V2, arXiv:2405.04434, table 1, for the latent.
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ropewalk.configs.layers import LayerKind, layer_kinds, required_size, size
from ropewalk.configs.rope import LARGEST_LENGTH, text_model
from ropewalk.core.errors import RopewalkError

DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {"bf16": 2, "fp16": 2, "fp32": 4, "fp8": 1, "int8": 1}
)
LARGEST_BATCH = 2**20


def kv_cache(
    config: Mapping[str, Any], length: int, *, batch: int = 1, dtype: str = "bf16"
) -> dict[str, Any]:
    """Bytes of the cache of ``batch`` sequences of ``length`` tokens.

    dtype  of the cached numbers: bf16, fp16, fp32, fp8 or int8

    Returns ``batch``, ``dtype``, ``tokens``, ``bytes``, ``bytes_per_token`` (what one more token
    of one sequence takes) and ``layers``: for each kind ``kind``, ``layers``, ``tokens`` kept,
    ``numbers_per_token`` of one layer and ``bytes``.

    Raises RopewalkError for sizes that are missing or none, and for layers whose cache is not
    known.
    """
    check_request(length, batch, dtype)
    width = DTYPE_BYTES[dtype]
    text = text_model(config)
    kept = Counter(
        (kind, 0 if kind.name == "none" else _numbers_per_token(text, kind, index))
        for index, kind in enumerate(layer_kinds(text))
    )
    rows = [
        _row(kind, numbers, count, length, batch * width) for (kind, numbers), count in kept.items()
    ]
    growing = [row for row in rows if row["tokens"] == length]
    return {
        "batch": batch,
        "dtype": dtype,
        "tokens": length,
        "bytes": sum(row["bytes"] for row in rows),
        "bytes_per_token": width * sum(r["layers"] * r["numbers_per_token"] for r in growing),
        "layers": rows,
    }


def check_request(length: int, batch: int, dtype: str) -> None:
    """RopewalkError for a length, batch or dtype that is none."""
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise RopewalkError(f"dtype={dtype!r:.40}: expected one of {', '.join(DTYPE_BYTES)}")
    _check(length, "length", 2, LARGEST_LENGTH)
    _check(batch, "batch", 1, LARGEST_BATCH)


def _row(kind: LayerKind, numbers: int, count: int, length: int, width: int) -> dict[str, Any]:
    tokens = 0 if kind.name == "none" else min(length, kind.window or length)
    return {
        "kind": kind.name,
        "layers": count,
        "tokens": tokens,
        "numbers_per_token": numbers,
        "bytes": tokens * numbers * count * width,
    }


def _numbers_per_token(text: Mapping[str, Any], kind: LayerKind, index: int) -> int:
    """e_l of the layer at ``index``."""
    rank = size(text, "kv_lora_rank")
    if rank and text.get("qk_rope_head_dim") is not None:
        return rank + required_size(text, "qk_rope_head_dim") + (size(text, "index_head_dim") or 0)
    keys = _head_dim(text, kind)
    return _key_heads(text, kind, index) * (keys + (size(text, "v_head_dim") or keys))


def _head_dim(text: Mapping[str, Any], kind: LayerKind) -> int:
    wider = ("global_head_dim",) if kind.name == "full" else ()
    stated = size(text, *wider, "head_dim", "attention_head_dim")
    if stated:
        return stated
    heads = required_size(text, "num_attention_heads", "n_head")
    hidden = required_size(text, "hidden_size", "n_embd")
    return required_size({"head_dim": hidden // heads}, "head_dim")


def _key_heads(text: Mapping[str, Any], kind: LayerKind, index: int) -> int:
    """g of one layer: one number, or one a layer; without it, as many as query heads."""
    if kind.name == "full" and text.get("attention_k_eq_v"):
        stated = size(text, "num_global_key_value_heads")
        if stated:
            return stated
    listed = next(
        (v for n in _KEY_HEADS if isinstance(v := text.get(n), list | tuple) and len(v) > index),
        None,
    )
    if listed is not None:
        return required_size({_KEY_HEADS[0]: listed[index]}, _KEY_HEADS[0])
    if text.get("multi_query") is True and not text.get("new_decoder_architecture"):
        return 1
    return required_size(text, *_KEY_HEADS, "num_attention_heads", "n_head")


_KEY_HEADS = ("num_key_value_heads", "num_kv_heads")


def _check(value: int, name: str, smallest: int, largest: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not smallest <= value <= largest:
        raise RopewalkError(f"{name}={value!r:.40}: expected {smallest} to {largest:,}")
