"""A scale of the logits by position, that a checkpoint was trained with, for one kind of layer.

    staircase  tau(m) = 1 + slope ln(1 + floor((m + 1) / F))     Llama 4, layers without rotation
               tau(m) = 1 + slope ln(1 + floor(m / F))           Ministral 3 (llama_4_scaling_beta)
    above      tau(m) = 1 + slope ln(max(1, (m + 1) / F))        Inkling, layers that see all tokens
    log-n      tau(m) = max(1, ln(m + 1) / ln F)                 Qwen 1

m  the row, F  floor in tokens

Source: transformers 5.23.0, modeling_llama4.py, modeling_inkling.py; Ministral 3's configuration;
    Qwen/Qwen-14B, modeling_qwen.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ropewalk.configs.attention import Attention, Full
from ropewalk.configs.numbers import optional
from ropewalk.configs.remote import LOG_N
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.text import model_type
from ropewalk.configs.unknown import Unknown

Law = Literal["staircase", "above", "log-n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitScale:
    """One of the laws; ``slope`` is null where it has none."""

    law: Law
    floor: float
    slope: float | None


def read_logit_scale(
    text: Mapping[str, Any], attention: Attention, rope: RopeSection | Unknown | None
) -> LogitScale | None:
    """Of layers with that attention and rotation; None where nothing scales their logits.

    Raises RopewalkError for keys that are no numbers.
    """
    if rope is None and model_type(text).startswith("llama4"):
        return _llama4(text)
    floor = optional(text, "log_scaling_n_floor")
    if floor and isinstance(attention, Full):
        return LogitScale(law="above", floor=floor, slope=optional(text, "log_scaling_alpha"))
    if not isinstance(rope, RopeSection):
        return None
    length = float(rope.trained_length)
    if rope.parameters.get(LOG_N) is True:
        return LogitScale(law="log-n", floor=length, slope=None)
    beta = rope.number("llama_4_scaling_beta")
    return LogitScale(law="staircase", floor=length, slope=beta) if beta else None


def _llama4(text: Mapping[str, Any]) -> LogitScale | None:
    floor, slope = optional(text, "floor_scale"), optional(text, "attn_scale")
    if not text.get("attn_temperature_tuning") or not floor or not slope:
        return None
    return LogitScale(law="staircase", floor=floor, slope=slope)
