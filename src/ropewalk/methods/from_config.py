"""A config.json as an encoding: what the checkpoint itself asks for.

Length-dependent types get the library's own rule, the length of the sequence so far for all rows
of a call. Each rope type is read with the rules in ``goldens``: 0 and null mean absent for
YaRN's betas and mscales, an explicit factor wins over the ratio of lengths.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from ropewalk.configs.rope import RopeSection, read_rope_section
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import ScoreMod
from ropewalk.frequencies.yarn_magnitude import yarn_mscale
from ropewalk.methods.linear import linear
from ropewalk.methods.longrope import longrope
from ropewalk.methods.ntk import dynamic_ntk, ntk_aware
from ropewalk.methods.proportional import proportional
from ropewalk.methods.unscaled import none
from ropewalk.methods.yarn import llama3, yarn
from ropewalk.scores.llama4_scale import Llama4Scale


def encoding_from_config(config: Mapping[str, Any], layer_type: str | None = None) -> Encoding:
    """The native encoding of a parsed config.json (``native`` in a spec).

    layer_type  for configs whose layer types differ; None reads "full_attention"

    Raises RopewalkError for a config without usable rope keys or with an unknown rope_type.
    """
    return section_encoding(read_rope_section(config, layer_type))


def section_encoding(section: RopeSection) -> Encoding:
    """The native encoding of a rope section that is already read."""
    if section.rope_type not in ROPE_TYPES:
        near = get_close_matches(section.rope_type, ROPE_TYPES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise RopewalkError(
            f"rope_type={section.rope_type}: expected one of {', '.join(ROPE_TYPES)}{hint}"
        )
    encoding = ROPE_TYPES[section.rope_type](section)
    return replace(encoding, score_mods=_query_temperature(section))


def softmax_scale(config: Mapping[str, Any], layer_type: str | None = None) -> float:
    """sigma: what a raw q.k is multiplied by before the attention factor's and tau's part.

        head_dim^-1/2, or what the config states (query_pre_attn_scalar, attention_multiplier)
        MLA: (qk_nope_head_dim + qk_rope_head_dim)^-1/2 * m(factor, mscale_all_dim)^2

    The square applies whenever rope_type is not default, mscale_all_dim is neither 0 nor null
    and apply_yarn_scaling is not false, whatever attention_factor says. Prefill and absorbed
    decode take this one number. Configs with compress_ratios take head_dim^-1/2 without it.

    Source: DeepSeek-V2 and V3, released code; DeepSeek-V4's, as in vLLM pull request 41569.
    """
    section = read_rope_section(config, layer_type)
    scaled = section.parameters.get("apply_yarn_scaling") is not False
    if not (section.latent_attention and scaled) or section.rope_type == "default":
        return section.softmax_scale
    all_dim = section.number("mscale_all_dim")
    magnitude = yarn_mscale(_factor(section), all_dim) if all_dim else 1.0
    return section.softmax_scale * magnitude**2


def _default(section: RopeSection) -> Encoding:
    return none(section.geometry())


def _linear(section: RopeSection) -> Encoding:
    return linear(section.geometry(), factor=_required(section, "factor"))


def _dynamic(section: RopeSection) -> Encoding:
    alpha = section.number("alpha")
    if alpha:
        # Hunyuan says dynamic and means one static base.
        return ntk_aware(section.geometry(), factor=alpha)
    return dynamic_ntk(
        section.geometry(), factor=_required(section, "factor"), policy="whole_sequence"
    )


def _yarn(section: RopeSection) -> Encoding:
    truncate = section.parameters.get("truncate", True)
    if not isinstance(truncate, bool):
        raise RopewalkError(f"truncate={truncate!r}: expected true or false")
    return yarn(
        section.geometry(),
        factor=_factor(section),
        beta_fast=section.number("beta_fast") or 32.0,
        beta_slow=section.number("beta_slow") or 1.0,
        truncate=truncate,
        attention_factor=section.number("attention_factor"),
        mscale=section.number("mscale"),
        mscale_all_dim=section.number("mscale_all_dim"),
    )


def _longrope(section: RopeSection) -> Encoding:
    return longrope(
        section.geometry(),
        short_factor=_numbers(section, "short_factor"),
        long_factor=_numbers(section, "long_factor"),
        factor=_factor(section),
        attention_factor=section.number("attention_factor"),
        short_mscale=section.number("short_mscale"),
        long_mscale=section.number("long_mscale"),
        policy="whole_sequence",
    )


def _llama3(section: RopeSection) -> Encoding:
    return llama3(
        section.geometry(),
        factor=_required(section, "factor"),
        low_freq_factor=_required(section, "low_freq_factor"),
        high_freq_factor=_required(section, "high_freq_factor"),
    )


def _proportional(section: RopeSection) -> Encoding:
    factor = section.number("factor")
    return proportional(
        section.geometry(),
        partial_rotary_factor=_required(section, "partial_rotary_factor"),
        factor=1.0 if factor is None else factor,
    )


ROPE_TYPES: Mapping[str, Callable[[RopeSection], Encoding]] = MappingProxyType(
    {
        "default": _default,
        "linear": _linear,
        "dynamic": _dynamic,
        "yarn": _yarn,
        "longrope": _longrope,
        "llama3": _llama3,
        "proportional": _proportional,
    }
)


def _required(section: RopeSection, name: str) -> float:
    value = section.number(name)
    if value is None:
        raise RopewalkError(
            f"rope_type={section.rope_type} without {name}: expected a number; add it to the "
            "rope dict"
        )
    return value


def _factor(section: RopeSection) -> float:
    """The explicit factor, else the ratio of the two lengths, never below 1."""
    stated = section.number("factor")
    if stated is not None:
        return stated
    return max(1.0, section.max_position_embeddings / section.trained_length)


def _numbers(section: RopeSection, name: str) -> tuple[float, ...]:
    values = section.parameters.get(name)
    if not isinstance(values, tuple) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e18 for v in values
    ):
        raise RopewalkError(
            f"rope_type={section.rope_type}: {name} is missing or not a list of numbers: "
            "expected one for each pair"
        )
    return tuple(float(v) for v in values)


def _query_temperature(section: RopeSection) -> tuple[ScoreMod, ...]:
    beta = section.number("llama_4_scaling_beta")
    if not beta:
        return ()
    return (Llama4Scale(beta=beta, trained_length=section.trained_length),)
