"""What each layer of a model attends to, from its config.

Configs say it in a dozen ways. The first of these that a config has is read:

block_configs                             layers without attention (Nemotron-NAS)
layer_types, layers_block_type            a name for each layer
hybrid_override_pattern                   a letter for each layer (Nemotron-H: ``*`` attends)
attn_layer_indices                        the layers that attend (Bamba)
attn_layer_period and _offset             one in so many attends (Jamba)
attn_type_list                            1 attends, 0 is linear (MiniMax)
cross_attention_layers                    layers that read an image's keys (Llama 3.2 Vision)
linear_attn_config.full_attn_layers       the layers that attend, counted from 1 (Kimi Linear)
full_attention_interval                   one in so many attends (Qwen3-Next)
sliding_window_pattern                    one in so many is full, or letters L and G (Gemma 3)
use_sliding_window, max_window_layers     the first so many are full (Qwen)
sliding_window, attention_chunk_size      else every layer
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.attention import (
    Attention,
    Chunked,
    Full,
    NoAttention,
    Recurrent,
    Sliding,
)
from ropewalk.configs.keys import BLOCKS, CHUNKED, FULL, LAYERS, SLIDING
from ropewalk.configs.layer_keys import block_attention
from ropewalk.configs.numbers import LARGEST_LAYER_COUNT, required_size, size
from ropewalk.configs.text import model_type
from ropewalk.core.errors import RopewalkError

_LINEAR = "linear_attention"
_LETTERS = {"*": FULL, "M": "mamba", "E": "moe", "-": "mlp"}
_FULL = frozenset(
    {FULL, "attention", "hybrid", "indexed_attention"}
    | {"deepseek_sparse_attention", "qwen_sparse_attention"}
)
_SLIDING = frozenset({SLIDING, "hybrid_sliding"})
_RECURRENT = frozenset({_LINEAR, "mamba", "mamba2", "conv", "recurrent"})
_CROSS = "cross_attention"
_NO_ATTENTION = frozenset({"moe", "mlp", _CROSS})


def read_layer_types(text: Mapping[str, Any]) -> tuple[str, ...]:
    """The type of each layer, in order, in the words of ``layer_types``.

    Raises RopewalkError for a config without a number of layers, or with layers whose cache is
    not known (DeepSeek-V4's compressed ones).
    """
    if text.get("compress_ratios") or text.get("compress_rates"):
        raise RopewalkError(
            "compress_ratios: layers that keep compressed keys: their cache is not modelled; "
            "ask the engine"
        )
    names = next((found for rule in _RULES if (found := rule(text)) is not None), None)
    return tuple(_everywhere(text) if names is None else names)


def read_attention(text: Mapping[str, Any], layer_type: str) -> Attention:
    """What layers of one type attend to; a window that is not stated, or 0, is none."""
    if layer_type in _FULL:
        return Full()
    if layer_type in _RECURRENT:
        return Recurrent()
    if layer_type in _NO_ATTENTION:
        return NoAttention()
    if layer_type in _SLIDING:
        window = size(text, "sliding_window", "sliding_window_size")
        return Sliding(window) if window else Full()
    if layer_type == CHUNKED:
        width = size(text, "attention_chunk_size")
        return Chunked(width) if width else Full()
    raise RopewalkError(f"layer type {layer_type:.40}: its cache is not known; ask the engine")


def _count(text: Mapping[str, Any]) -> int:
    count = required_size(text, *LAYERS)
    if text.get(LAYERS[0]) is None and model_type(text) in families.ATTENDS_TWICE_A_LAYER:
        count *= 2
    if count > LARGEST_LAYER_COUNT:
        raise RopewalkError(f"{count} layers: expected at most {LARGEST_LAYER_COUNT:,}")
    return count


def _everywhere(text: Mapping[str, Any]) -> Sequence[str]:
    """One type for all layers, Qwen's full first layers excepted."""
    count = _count(text)
    if not text.get("use_sliding_window", families.slides_unasked(model_type(text))):
        return [FULL] * count
    windows = ((CHUNKED, "attention_chunk_size"), (SLIDING, "sliding_window"))
    windowed = next((name for name, key in windows if size(text, key)), FULL)
    full = (size(text, "max_window_layers") or 0) if "use_sliding_window" in text else 0
    return [FULL if i < full else windowed for i in range(count)]


def _attending(text: Mapping[str, Any], attends: Callable[[int], bool]) -> Sequence[str]:
    return [FULL if attends(i) else _LINEAR for i in range(_count(text))]


def _listed(text: Mapping[str, Any]) -> Sequence[str] | None:
    for name in ("layer_types", "layers_block_type"):
        value = text.get(name)
        if isinstance(value, list | tuple) and value:
            _require_one_each(text, name, len(value))
            return [str(entry) for entry in value]
    pattern = text.get("hybrid_override_pattern")
    if not isinstance(pattern, str) or not pattern:
        return None
    return [_LETTERS.get(letter, letter) for letter in pattern]


def _require_one_each(text: Mapping[str, Any], name: str, entries: int) -> None:
    """As transformers' own config classes ask of ``layer_types``; RopewalkError otherwise."""
    count = size(text, LAYERS[0])
    if name == "layer_types" and count not in (None, entries):
        raise RopewalkError(
            f"layer_types has {entries} entries: expected one for each of {count} layers; correct "
            f"it, or {LAYERS[0]}"
        )


def _by_blocks(text: Mapping[str, Any]) -> Sequence[str] | None:
    if not isinstance(text.get(BLOCKS), list | tuple):
        return None
    found = (block_attention(text, i) for i in range(_count(text)))
    return [
        "mlp" if each.get("no_op") is True or each.get("replace_with_linear") is True else FULL
        for each in found
    ]


def _by_indices(text: Mapping[str, Any]) -> Sequence[str] | None:
    crossing = text.get("cross_attention_layers")
    if isinstance(crossing, list | tuple) and crossing:
        return [_CROSS if i in crossing else FULL for i in range(_count(text))]
    listed = text.get("attn_layer_indices")
    if isinstance(listed, list | tuple):
        return _attending(text, lambda i: i in listed)
    linear = text.get("linear_attn_config")
    counted = linear.get("full_attn_layers") if isinstance(linear, Mapping) else None
    if isinstance(counted, list | tuple):
        return _attending(text, lambda i: i + 1 in counted)
    types = text.get("attn_type_list")
    if isinstance(types, list | tuple):
        return [FULL if entry == 1 else _LINEAR for entry in types]
    return None


def _by_period(text: Mapping[str, Any]) -> Sequence[str] | None:
    period, offset = size(text, "attn_layer_period"), size(text, "attn_layer_offset")
    if period and offset is not None:
        return _attending(text, lambda i: i % period == offset)
    interval = size(text, "full_attention_interval")
    return _attending(text, lambda i: (i + 1) % interval == 0) if interval else None


def _by_window_pattern(text: Mapping[str, Any]) -> Sequence[str] | None:
    pattern = text.get("sliding_window_pattern", families.WINDOW_PATTERN.get(model_type(text)))
    if isinstance(pattern, str) and {*pattern} <= {"L", "G"} and pattern:
        letters = [pattern[i % len(pattern)] for i in range(_count(text))]
        return [FULL if letter == "G" else SLIDING for letter in letters]
    every = size({"sliding_window_pattern": pattern}, "sliding_window_pattern")
    if not every:
        return None
    return [FULL if (i + 1) % every == 0 else SLIDING for i in range(_count(text))]


_RULES = (_by_blocks, _listed, _by_indices, _by_period, _by_window_pattern)
