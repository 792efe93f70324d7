"""A config.json as an encoding: what the checkpoint itself asks for.

Length-dependent types get the library's own rule, the length of the sequence so far for all rows
of a call. Each rope type is read with the rules in ``goldens``: 0 and null mean absent for
YaRN's betas and mscales, an explicit factor wins over the ratio of lengths.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType

from ropewalk.configs.keys import ORIGINAL, TRAINED
from ropewalk.configs.remote import LOG_N, POWERS
from ropewalk.configs.rope import RopeSection
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.lengths import WholeSequence
from ropewalk.core.score_mods import ScoreMod
from ropewalk.frequencies.powers_ntk import PowersNTK
from ropewalk.frequencies.spread_ntk import SpreadNTK
from ropewalk.frequencies.yarn_magnitude import yarn_mscale
from ropewalk.methods.linear import linear
from ropewalk.methods.longrope import longrope
from ropewalk.methods.ntk import dynamic_ntk, ntk_aware
from ropewalk.methods.policies import static_encoding
from ropewalk.methods.proportional import proportional
from ropewalk.methods.unscaled import none
from ropewalk.methods.yarn import llama3, yarn
from ropewalk.scores.llama4_scale import Llama4Scale
from ropewalk.scores.log_n import FlooredLogN


def native_encoding(section: RopeSection) -> Encoding:
    """The encoding that a checkpoint was trained with (``native`` in a spec).

    Raises RopewalkError for an unknown rope_type, or numbers that it cannot have.
    """
    if section.rope_type not in ROPE_TYPES:
        near = get_close_matches(section.rope_type, ROPE_TYPES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise RopewalkError(
            f"rope_type={section.rope_type}: expected one of {', '.join(ROPE_TYPES)}{hint}"
        )
    encoding = ROPE_TYPES[section.rope_type].build(section)
    return replace(encoding, score_mods=_query_temperature(section))


def softmax_scale(section: RopeSection) -> float:
    """sigma: what a raw q.k is multiplied by before the attention factor's and tau's part.

        head_dim^-1/2, or what the config states (query_pre_attn_scalar, attention_multiplier)
        MLA: (qk_nope_head_dim + qk_rope_head_dim)^-1/2 * m(factor, mscale_all_dim)^2

    The square applies whenever rope_type is not default, mscale_all_dim is neither 0 nor null
    and apply_yarn_scaling is not false, whatever attention_factor says. Prefill and absorbed
    decode take this one number. Configs with compress_ratios take head_dim^-1/2 without it.

    Source: DeepSeek-V2 and V3, released code; DeepSeek-V4's, as in vLLM pull request 41569.
    """
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


def _ntk(section: RopeSection) -> Encoding:
    frequencies = SpreadNTK(
        geometry=section.geometry(),
        factor=_required(section, "factor"),
        mixed_b=section.number("mixed_b"),
    )
    return static_encoding(section.geometry(), frequencies)


def _powers(section: RopeSection) -> Encoding:
    geometry = section.geometry()
    return Encoding(
        geometry=geometry,
        frequencies=PowersNTK(geometry=geometry),
        length_policy=WholeSequence(trained_length=geometry.trained_length),
    )


def _proportional(section: RopeSection) -> Encoding:
    factor = section.number("factor")
    return proportional(
        section.geometry(),
        partial_rotary_factor=_required(section, "partial_rotary_factor"),
        factor=1.0 if factor is None else factor,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeType:
    """What a rope_type makes of a rope dict, and the keys that it reads there."""

    build: Callable[[RopeSection], Encoding]
    reads: frozenset[str]


def _rope_type(build: Callable[[RopeSection], Encoding], *reads: str) -> RopeType:
    return RopeType(build=build, reads=frozenset(reads))


_YARN_KEYS = ("beta_fast", "beta_slow", "truncate", "attention_factor", "mscale", "mscale_all_dim")
_LONGROPE_KEYS = ("short_factor", "long_factor", "attention_factor", "short_mscale", "long_mscale")

ROPE_TYPES: Mapping[str, RopeType] = MappingProxyType(
    {
        "default": _rope_type(_default, TRAINED),
        "linear": _rope_type(_linear, "factor", TRAINED),
        "dynamic": _rope_type(_dynamic, "factor", "alpha", TRAINED),
        "yarn": _rope_type(_yarn, "factor", *_YARN_KEYS, ORIGINAL),
        "longrope": _rope_type(_longrope, "factor", *_LONGROPE_KEYS, ORIGINAL),
        "llama3": _rope_type(_llama3, "factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
        "ntk": _rope_type(_ntk, "factor", "mixed_b", TRAINED),
        POWERS: _rope_type(_powers, LOG_N, TRAINED),
        "proportional": _rope_type(_proportional, "factor", "partial_rotary_factor", TRAINED),
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
    values = section.numbers(name)
    if values is None:
        raise RopewalkError(
            f"rope_type={section.rope_type}: {name} is missing or not a list of numbers: "
            "expected one for each pair"
        )
    return values


def _query_temperature(section: RopeSection) -> tuple[ScoreMod, ...]:
    if section.parameters.get(LOG_N) is True:
        return (FlooredLogN(base_length=section.trained_length),)
    beta = section.number("llama_4_scaling_beta")
    if not beta:
        return ()
    return (Llama4Scale(beta=beta, floor=section.trained_length),)
