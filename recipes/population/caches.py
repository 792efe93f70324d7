"""What the library's own cache holds of a shrunk model, layer by layer, in numbers.

The truth that the memory of ``plan`` is held against: keys and values that a forward pass wrote,
states of linear and recurrent layers left aside, since they do not grow.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from recipes.families.sharpened import L0, token_ids
from recipes.families.shrunk import shrunk
from recipes.population.library import NotBuilt
from ropewalk.configs.unknown import known
from ropewalk.opening.shapes import shape_of

TOKENS = 72
"""More than the windows of shrunk models (48), so that a window shows."""

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "inkling_text": {
        **{"swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_head_dim": 8},
        "sliding_window_size": 48,
    },
}
"""What shrinking leaves large, or without a layer that attends."""


def causal_families() -> tuple[str, ...]:
    """Every family of the library with a causal language model."""
    return tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))


def tiny(family: str) -> nn.Module:
    """A model of ``family``, as recipes.families shrinks it. Raises NotBuilt."""
    try:
        return shrunk(family, **CHANGES.get(family, {}))
    except Exception as error:  # whatever the family's code raises
        raise NotBuilt(_said(error)) from error


def held(model: nn.Module) -> tuple[list[int], int]:
    """Numbers that each layer of the cache holds of one sequence, and its tokens.

    Models with a table of positions have as many tokens as it has rows. Raises NotBuilt where the
    model makes no cache with layers.
    """
    try:
        cache, tokens = _filled(model, TOKENS), TOKENS
    except (IndexError, RuntimeError):
        tokens = L0 - 4
        try:
            cache = _filled(model, tokens)
        except Exception as error:  # whatever the family's code raises
            raise NotBuilt(_said(error)) from error
    if not hasattr(cache, "layers"):
        raise NotBuilt("its cache has no layers")
    config: Any = model.config
    own = config.prompt_length if config.model_type == "cpmant" else 0  # it prompts itself
    return [sum(map(_numbers, _tensors(layer))) for layer in cache.layers], tokens + own


@torch.no_grad()
def _filled(model: nn.Module, tokens: int) -> Any:
    ids = token_ids(1, tokens)  # type: ignore[no-untyped-call]
    return getattr(model(ids, use_cache=True), "past_key_values", None)


def counted(config: Mapping[str, Any], tokens: int) -> list[tuple[int, int]]:
    """Numbers of a token and tokens kept, layer by layer, as ``plan`` counts them."""
    found: dict[int, tuple[int, int]] = {}
    for kind in known(shape_of(config).kinds):
        window, numbers = kind.attention.window, known(kind.cache).numbers_per_token
        kept = tokens if window is None else min(window, tokens)
        found.update(dict.fromkeys(kind.layers, (numbers, kept)))
    return [found[layer] for layer in sorted(found)]


def agree(held: list[int], counted: list[tuple[int, int]], tokens: int) -> bool:
    """Layer by layer; a window may hold one token less than it sees, and the last layers of the
    library's cache need not be there if they hold nothing."""
    missing = [0] * (len(counted) - len(held))
    return len(held) <= len(counted) and all(
        own in (numbers * kept, numbers * (kept - (kept < tokens)))
        for own, (numbers, kept) in zip([*held, *missing], counted, strict=True)
    )


def _tensors(layer: Any) -> list[Tensor | None]:
    return [getattr(layer, name, None) for name in ("keys", "values", "indexer_keys")]


def _numbers(tensor: Tensor | None) -> int:
    return tensor.numel() if isinstance(tensor, Tensor) else 0


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]
