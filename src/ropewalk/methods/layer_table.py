"""The kinds of layer of a model, as rows of a document."""

from dataclasses import asdict
from typing import Any

from ropewalk.configs.cache import KeyCache
from ropewalk.configs.logit_scale import LogitScale
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import LayerKind, ModelShape
from ropewalk.configs.unknown import Unknown


def layer_table(shape: ModelShape) -> list[dict[str, Any]]:
    """A row for each kind; empty where a config does not say its layers.

    kind                what ``layer_types`` calls it
    layers, indices     how many there are, and which
    attention, window   full, sliding, chunked, recurrent or none; tokens seen at most, or null
    rotates             whether queries and keys rotate; null where its numbers make no rotation
    rope_theta, rotary_dim, rope_type
                        of that rotation, null without one
    key_heads, key_dim, value_dim
                        null for latent attention and for layers that keep no keys
    logit_scale         ``law``, ``floor``, ``slope``, ``counted`` of a scale by position
                        (configs.logit_scale); null without one
    numbers_per_token   what one layer keeps of a token, null where that is not known
    """
    if isinstance(shape.kinds, Unknown):
        return []
    return [_row(kind) for kind in shape.kinds]


def _row(kind: LayerKind) -> dict[str, Any]:
    rope = kind.rope if isinstance(kind.rope, RopeSection) else None
    cache = None if isinstance(kind.cache, Unknown) else kind.cache
    scale = kind.logit_scale
    keys = cache if isinstance(cache, KeyCache) else None
    return {
        "kind": kind.layer_type,
        "layers": len(kind.layers),
        "indices": list(kind.layers),
        "attention": kind.attention.name,
        "window": kind.attention.window,
        "rotates": None if isinstance(kind.rope, Unknown) else rope is not None,
        "rope_type": rope and rope.rope_type,
        "rope_theta": rope and rope.rope_theta,
        "rotary_dim": rope and rope.geometry().rotary_dim,
        "logit_scale": asdict(scale) if isinstance(scale, LogitScale) else None,
        "key_heads": keys and keys.key_heads,
        "key_dim": keys and keys.key_dim,
        "value_dim": keys and keys.value_dim,
        "numbers_per_token": cache and cache.numbers_per_token,
    }
