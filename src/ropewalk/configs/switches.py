"""Keys that switch rotation off, for a whole model or layer by layer.

position_embedding_type   rotates where it says rope or rotary (Granite 4, ESM, GTE)
alibi                     biases instead (Falcon; MPT and others under attn_config)
mla_use_nope              latent attention without positions (Kimi Linear)
attn_use_rope, use_rope   false: the attending layers carry no positions (MiniCPM-SALA)
use_mem_rope              false: the shared attention carries none (Zamba 2)
use_sliding_window        false: no layer has a window (Qwen)
qk_rope_head_dim          0: latent attention whose rotary part is empty
no_rope_layers            1 for each layer that rotates, 0 for each that does not (Llama 4, SmolLM3)
layer_rope_theta          the base of each layer, 0 for one without positions (Granite SWA, Muse)

A family that a library knows reads some of them and no others: ``families.READ_BY``.
Families whose layers with a window rotate and whose others do not state it nowhere: they are in
``families``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.configs import families
from ropewalk.configs.attention import Attention, Full
from ropewalk.configs.numbers import optional
from ropewalk.configs.text import model_type
from ropewalk.core.errors import RopewalkError


@dataclass(frozen=True, slots=True)
class NoRotation:
    """No layer of a model rotates its queries and keys; ``reason`` says which key says so."""

    reason: str


def unread_switches(stated: Mapping[str, Any], completed: Mapping[str, Any]) -> tuple[str, ...]:
    """Switches that a config states and that the library's class of its family does not read.

    None is told of a family that no library knows.
    """
    family = str(completed.get("model_type") or "")
    return tuple(
        name
        for name, reading in families.READ_BY.items()
        if family and stated.get(name) is not None and family not in reading
    )


def read_no_rotation(text: Mapping[str, Any]) -> NoRotation | None:
    """Whether a text model as a whole goes without rotation, None where it rotates."""
    family = model_type(text)
    if family in families.NEVER_ROTATE:
        return NoRotation(f"{family}: no layer rotates its queries and keys")
    if text.get("qk_rope_head_dim") == 0:
        return NoRotation(f"qk_rope_head_dim is 0: {_NO_POSITIONS}")
    said = next((said for rule in _RULES if (said := rule(text)) is not None), None)
    return None if said is None else NoRotation(f"{said}: {_NO_POSITIONS}")


def bases_of_layers(
    text: Mapping[str, Any], attentions: Sequence[Attention]
) -> tuple[float | None, ...]:
    """The base of each layer: None for its type's, 0 where it does not rotate.

    Raises RopewalkError for lists that are shorter than the model.
    """
    if thetas := _listed(text, "layer_rope_theta", len(attentions)):
        return tuple(thetas)
    if flags := _listed(text, "no_rope_layers", len(attentions)):
        return tuple(None if flag else 0.0 for flag in flags)
    family = model_type(text)
    unwindowed = not any(attention.window for attention in attentions)
    if family in families.ROTATE_WITHIN_WINDOWS or (
        family in families.ROTATE_WITHOUT_WINDOWS_TOO and not unwindowed
    ):
        return tuple(0.0 if isinstance(attention, Full) else None for attention in attentions)
    return (None,) * len(attentions)


def _position_embedding_type(text: Mapping[str, Any]) -> str | None:
    value = text.get("position_embedding_type")
    if value is None and model_type(text) in families.ASKED_FOR_ROPE:
        return "position_embedding_type is not stated"
    off = isinstance(value, str) and value not in ("rope", "rotary")
    return f"position_embedding_type is {value:.40}" if off else None


def _switched_off(text: Mapping[str, Any]) -> str | None:
    inner = text.get("attn_config")
    keys = {**inner, **text} if isinstance(inner, Mapping) else text
    off = next((key for key, value in _OFF.items() if keys.get(key) is value), None)
    return None if off is None else f"{off} is {str(_OFF[off]).lower()}"


_NO_POSITIONS = "no layer rotates its queries and keys"
_OFF: Mapping[str, bool] = MappingProxyType(
    {"alibi": True, "mla_use_nope": True}
    | dict.fromkeys(("attn_use_rope", "use_rope", "use_mem_rope"), False)
)
_RULES = (_position_embedding_type, _switched_off)


def _listed(text: Mapping[str, Any], name: str, count: int) -> Sequence[float]:
    """Numbers under ``name``, one a layer; empty where none are stated."""
    values = text.get(name)
    if not isinstance(values, list | tuple) or not values:
        return ()
    if len(values) < count:
        raise RopewalkError(
            f"{name} has {len(values)} entries: expected one for each of {count} layers; add them"
        )
    return [optional({name: value}, name) or 0.0 for value in values[:count]]
