"""What vLLM and SGLang read alike: SGLang's rotary classes descend from vLLM's.

Source: vLLM 0.33.0 rotary_embedding (linear_scaling_rope.py, common.py) and SGLang 0.5.23
    rotary_embedding (base.py, yarn.py).
"""

import math
from dataclasses import replace

from ropewalk.engines.answer import Rotation
from ropewalk.engines.magnitudes import latent_magnitude
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.rows import LinearRow, ProportionalRow, Rule, YarnRow, stretched
from ropewalk.engines.stated import ROUNDED, Read, Stated, always, optional, required


def _listed_factor(reading: Reading) -> Stated:
    """factor; what is not a float is taken for a list of factors, and iterated."""
    factor = reading.rope.get("factor")
    if not isinstance(factor, float):
        raise EngineRaises(f"TypeError: '{type(factor).__name__}' object is not iterable")
    return Stated(factor, ("factor",))


def _beta(key: str, default: float) -> Read:
    """A stated 0 is divided by (yarn_find_correction_dim); transformers takes it as absent."""

    def read(reading: Reading) -> Stated:
        beta = optional(key, default)(reading)
        if beta.value == 0:
            raise EngineRaises("ZeroDivisionError: float division by zero")
        return beta

    return read


def constant_dynamic(reading: Reading, max_position: int, factor: Stated) -> Rotation:
    """b * (a a - (a - 1))^(d / (d - 2)) at every length, over P positions a table of a P rows.

    Source: SGLang 0.5.23 rotary_embedding/rope_variant.py, and vLLM before pull request 41277.
    """
    a = factor.value
    return replace(
        stretched(reading, Stated(a * a - (a - 1), factor.keys)),
        table_rows=math.ceil(max_position * a),
        choice=FIXED_BASE,
    )


def half_pairs(row: Rule) -> Rule:
    """LongRoPE's class takes pairs of halves alone (phi3_long_rope_scaled_rope.py)."""

    def rule(reading: Reading) -> Rotation:
        if reading.section.pairing == "interleaved":
            raise EngineRaises(
                "ValueError: `Phi3LongRoPEScaledRotaryEmbedding` only supports neox_style."
            )
        return row(reading)

    return rule


def check_sections(reading: Reading, rope_type: str) -> None:
    """EngineRaises for mrope sections beside a type that has no class with sections (get_rope):
    positions come in three rows, and its class takes one."""
    if "mrope_section" in reading.rope and rope_type not in _WITH_SECTIONS:
        raise EngineRaises(
            f"RuntimeError: positions of three rows (mrope_section) in the class of {rope_type}"
        )


_WITH_SECTIONS = ("default", "yarn", "bailing_mrope", "openpangu")
FIXED_BASE = "one base for every length"
SERVED_LINEAR = LinearRow(factor=_listed_factor)
SERVED_YARN = YarnRow(
    factor=required(
        "factor", "TypeError: '<=' not supported between instances of 'NoneType' and 'int'"
    ),
    beta_fast=_beta("beta_fast", 32.0),
    beta_slow=_beta("beta_slow", 1.0),
)
LATENT_YARN = replace(SERVED_YARN, truncate=ROUNDED, magnitude=latent_magnitude)
"""Latent attention, for any type but default: cut-offs always rounded (deepseek_v2.py)."""
SERVED_PROPORTIONAL = ProportionalRow(factor=always(1.0))
"""``factor`` is not read (gemma4_rope.py, Gemma4RotaryEmbedding)."""
