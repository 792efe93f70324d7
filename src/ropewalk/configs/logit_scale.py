"""A scale of the logits by position, that a checkpoint was trained with, for one kind of layer.

    staircase  tau(m) = 1 + slope ln(1 + floor((m + c) / F))  Llama 4, layers without rotation: c 1
                                                              Ministral 3 and Mistral 4: c 0
    above      tau(m) = 1 + slope ln(max(1, (m + 1) / F))     Inkling, layers that see all tokens
    power      tau(m) = (1 + (m + 1) / F)^slope               Beam, layers without rotation
    log-n      tau(m) = max(1, ln(m + 1) / ln F)              Qwen 1

m  the row, F  floor in tokens, c  counted: whether a row counts itself

Source: transformers 5.23.0, modeling_llama4.py, modeling_inkling.py, modeling_ministral3.py,
    modeling_mistral4.py, modeling_beam.py; Qwen/Qwen-14B, modeling_qwen.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ropewalk.configs import families
from ropewalk.configs.attention import Attention, Full
from ropewalk.configs.numbers import optional
from ropewalk.configs.remote import LOG_N
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.text import model_type
from ropewalk.configs.unknown import Unknown

Law = Literal["staircase", "above", "power", "log-n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitScale:
    """One of the laws; ``slope`` is null where it has none, ``counted`` 0 where row m is m."""

    law: Law
    floor: float
    slope: float | None
    counted: Literal[0, 1] = 1


def read_logit_scale(
    text: Mapping[str, Any], attention: Attention, rope: RopeSection | Unknown | None
) -> LogitScale | None:
    """Of layers with that attention and rotation; None where nothing scales their logits.

    Raises RopewalkError for keys that are no numbers.
    """
    family = model_type(text)
    if rope is None and family.startswith("llama4"):
        return _llama4(text)
    if rope is None and family in families.POWER_SCALE and isinstance(attention, Full):
        floor, slope = families.POWER_SCALE[family]
        return LogitScale(law="power", floor=floor, slope=slope)
    stated = optional(text, "log_scaling_n_floor")
    if stated and isinstance(attention, Full):
        return LogitScale(law="above", floor=stated, slope=optional(text, "log_scaling_alpha"))
    if not isinstance(rope, RopeSection):
        return None
    length = float(rope.trained_length)
    if rope.parameters.get(LOG_N) is True:
        return LogitScale(law="log-n", floor=length, slope=None)
    beta = rope.number("llama_4_scaling_beta")
    return LogitScale(law="staircase", floor=length, slope=beta, counted=0) if beta else None


def _llama4(text: Mapping[str, Any]) -> LogitScale | None:
    floor, slope = optional(text, "floor_scale"), optional(text, "attn_scale")
    if not text.get("attn_temperature_tuning") or not floor or not slope:
        return None
    return LogitScale(law="staircase", floor=floor, slope=slope)
