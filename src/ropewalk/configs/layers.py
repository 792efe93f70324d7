"""Which layers of a model keep keys and values, and for how many tokens: read from its config.

Configs say it in a dozen ways. The first of these that a config has is read:

layer_types, layers_block_type            a name for each layer
hybrid_override_pattern                   a letter for each layer (Nemotron-H: ``*`` attends)
attn_layer_indices                        the layers that attend (Bamba)
attn_layer_period and _offset             one in so many attends (Jamba)
attn_type_list                            1 attends, 0 is linear (MiniMax)
linear_attn_config.full_attn_layers       the layers that attend, counted from 1 (Kimi Linear)
full_attention_interval                   one in so many attends (Qwen3-Next)
sliding_window_pattern                    one in so many is full, or letters L and G (Gemma 3)
use_sliding_window, max_window_layers     the first so many are full (Qwen)
sliding_window, attention_chunk_size      else every layer
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.core.errors import RopewalkError

LARGEST_SIZE = 2**24
_FULL = frozenset({"full_attention", "attention", "hybrid", "indexed_attention", "*"})
_FULL_SPARSE = frozenset({"deepseek_sparse_attention", "qwen_sparse_attention"})
_WINDOWED: Mapping[str, str] = MappingProxyType(
    {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
)
_WITHOUT = frozenset({"linear_attention", "mamba", "mamba2", "conv", "recurrent", "moe", "mlp"})
_LETTERS_WITHOUT = frozenset({"M", "E", "-"})
_PATTERNS: Mapping[str, int] = MappingProxyType(
    {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gemma4_text": 6, "gpt_oss": 2}
    | {"cohere2": 4, "exaone4": 4, "olmo3": 4}
)
_OPTIONAL_WINDOW = ("qwen2", "qwen3", "smollm3")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """What one layer keeps.

    name    "full", "sliding" or "none"
    window  tokens that a sliding layer keeps; None: all of them
    """

    name: str
    window: int | None = None


FULL = LayerKind(name="full")
NONE = LayerKind(name="none")


def layer_kinds(text: Mapping[str, Any]) -> tuple[LayerKind, ...]:
    """The kind of each layer, in order; ``text`` is the text model's config.

    Layers that reuse the cache of an earlier one (num_kv_shared_layers) keep nothing.

    Raises RopewalkError for a config without a number of layers, or with layers whose cache is
    not known (DeepSeek-V4's compressed ones).
    """
    if text.get("compress_ratios") or text.get("compress_rates"):
        raise RopewalkError(
            "compress_ratios: layers that keep compressed keys: their cache is not modelled; "
            "ask the engine"
        )
    names = next((found for rule in _RULES if (found := rule(text)) is not None), None)
    kinds = _everywhere(text) if names is None else tuple(_kind(name, text) for name in names)
    shared = size(text, "num_kv_shared_layers") or 0
    return (*kinds[: max(len(kinds) - shared, 0)], *[NONE] * min(shared, len(kinds)))


def size(text: Mapping[str, Any], *names: str) -> int | None:
    """The first of ``names`` that is neither absent nor null, a whole number from 0 on."""
    for name in names:
        value = text.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_SIZE:
            raise RopewalkError(f"{name}={value!r:.40}: expected a whole number up to 2^24")
        return value
    return None


def required_size(text: Mapping[str, Any], *names: str) -> int:
    """The same, at least 1; RopewalkError where none is stated."""
    value = size(text, *names)
    if not value:
        raise RopewalkError(f"no {' or '.join(names)}: expected a whole number from 1 on; add it")
    return value


def _count(text: Mapping[str, Any]) -> int:
    count = required_size(text, "num_hidden_layers", "n_layer", "num_layers")
    if count > 2**12:
        raise RopewalkError(f"{count} layers: expected at most 4,096")
    return count


def _kind(name: str, text: Mapping[str, Any]) -> LayerKind:
    if name in _FULL or name in _FULL_SPARSE:
        return FULL
    if name in _WITHOUT or name in _LETTERS_WITHOUT:
        return NONE
    if name in _WINDOWED:
        window = size(text, _WINDOWED[name])
        return FULL if not window else LayerKind(name="sliding", window=window)
    raise RopewalkError(f"layer type {name:.40}: its cache is not known; ask the engine")


def _everywhere(text: Mapping[str, Any]) -> tuple[LayerKind, ...]:
    """One kind for all layers, Qwen's full first layers excepted."""
    count = _count(text)
    model_type = str(text.get("model_type") or "")
    optional = model_type.startswith(_OPTIONAL_WINDOW)
    if not text.get("use_sliding_window", not optional):
        return (FULL,) * count
    name = "chunked_attention" if text.get("attention_chunk_size") else "sliding_attention"
    full = (size(text, "max_window_layers") or 0) if "use_sliding_window" in text else 0
    return tuple(FULL if i < full else _kind(name, text) for i in range(count))


def _attending(text: Mapping[str, Any], attends: Callable[[int], bool]) -> list[str]:
    return ["full_attention" if attends(i) else "linear_attention" for i in range(_count(text))]


def _listed(text: Mapping[str, Any]) -> Sequence[str] | None:
    for name in ("layer_types", "layers_block_type"):
        value = text.get(name)
        if isinstance(value, list | tuple) and value:
            return [str(entry) for entry in value]
    pattern = text.get("hybrid_override_pattern")
    return list(pattern) if isinstance(pattern, str) and pattern else None


def _by_indices(text: Mapping[str, Any]) -> Sequence[str] | None:
    listed = text.get("attn_layer_indices")
    if isinstance(listed, list | tuple):
        return _attending(text, lambda i: i in listed)
    linear = text.get("linear_attn_config")
    counted = linear.get("full_attn_layers") if isinstance(linear, Mapping) else None
    if isinstance(counted, list | tuple):
        return _attending(text, lambda i: i + 1 in counted)
    types = text.get("attn_type_list")
    if isinstance(types, list | tuple):
        return ["full_attention" if entry == 1 else "linear_attention" for entry in types]
    return None


def _by_period(text: Mapping[str, Any]) -> Sequence[str] | None:
    period, offset = size(text, "attn_layer_period"), size(text, "attn_layer_offset")
    if period and offset is not None:
        return _attending(text, lambda i: i % period == offset)
    interval = size(text, "full_attention_interval")
    return _attending(text, lambda i: (i + 1) % interval == 0) if interval else None


def _by_window_pattern(text: Mapping[str, Any]) -> Sequence[str] | None:
    pattern = text.get("sliding_window_pattern", _PATTERNS.get(str(text.get("model_type"))))
    if isinstance(pattern, str) and {*pattern} <= {"L", "G"} and pattern:
        letters = [pattern[i % len(pattern)] for i in range(_count(text))]
        return ["full_attention" if letter == "G" else "sliding_attention" for letter in letters]
    every = size({"sliding_window_pattern": pattern}, "sliding_window_pattern")
    if not every:
        return None
    full = ["full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(every)]
    return [full[i % every] for i in range(_count(text))]


_RULES = (_listed, _by_indices, _by_period, _by_window_pattern)
