"""An encoding as the rope block of a config.json: what every engine's flags are written from.

    encoding                                        rope_type
    RoPE, NTK-aware, ABF, dynamic NTK at one L      default, with the base that it comes to
    linear                                          linear
    NTK-by-parts and YaRN on the ramp of code       yarn, attention_factor stated
    NTK-by-parts on the ramp of turns               llama3, where there is no attention factor
    dynamic YaRN at one L                           yarn with factor L / L0
    LongRoPE at one L                               longrope, with one list in both places
    proportional                                    proportional
    anything else that is settled                   longrope (``lists``)
    dynamic NTK, LongRoPE of the sequence so far    dynamic, longrope: transformers alone

Source: transformers 5.23.0, modeling_rope_utils.py, for the names and what they mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ropewalk.configs.keys import ORIGINAL
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.lengths import PerQuery
from ropewalk.core.regions import Identity
from ropewalk.frequencies.dynamic_ntk import DynamicNTK
from ropewalk.frequencies.dynamic_yarn import DynamicYaRN
from ropewalk.frequencies.linear import Linear
from ropewalk.frequencies.longrope import LongRoPE
from ropewalk.frequencies.ntk_aware import NTKAware, stretched_base
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.proportional import Proportional
from ropewalk.frequencies.ramps import IndexRamp, TurnsRamp
from ropewalk.frequencies.unscaled import Unscaled
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.self_extend import SelfExtend


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeBlock:
    """Rope parameters in transformers' names.

    rope_type         default, linear, yarn, llama3, longrope, proportional or dynamic
    rope_theta        base
    parameters        the type's keys without attention_factor
    attention_factor  on cos and sin
    follows_length    whether the engine itself has to follow the sequence so far
    trained_length    L0, in tokens
    """

    rope_type: str
    rope_theta: float
    parameters: Mapping[str, Any]
    attention_factor: float
    follows_length: bool
    trained_length: int

    @property
    def factor(self) -> float:
        """s, 1 where the type has none."""
        return float(self.parameters.get("factor", 1.0))


class NoRopeType(Exception):
    """Frequencies that no type but lists of divisors has."""


def rope_block(encoding: Encoding) -> RopeBlock:
    """The block whose type computes ``encoding``; NoRopeType where no type does.

    Raises RopewalkError for frequencies of the sequence so far that no engine follows.
    """
    at = encoding.settled_length
    if at is None:
        rope_type, theta, parameters = _following(encoding.rotation)
        at = encoding.geometry.trained_length
    else:
        rope_type, theta, parameters = _settled(encoding.rotation, at)
    return RopeBlock(
        rope_type=rope_type,
        rope_theta=theta,
        parameters=MappingProxyType(parameters),
        attention_factor=encoding.rotation.attention_factor(at),
        follows_length=encoding.settled_length is None,
        trained_length=encoding.geometry.trained_length,
    )


def check_expressible(encoding: Encoding, length: int) -> None:
    """Raises RopewalkError for what no rope block says: position maps, logit scales and biases, a
    base for each row, start tokens. ``length`` is for messages alone."""
    if encoding.position_map != Identity():
        raise RopewalkError(
            "no engine has its position map: a rope block has one position a token"
            f"{_MAPS_NEARBY.get(type(encoding.position_map), '')}; nearest: yarn with "
            "factor=length, or rw.extend in transformers, which computes it"
        )
    if encoding.trained or encoding.values_encoded or encoding.tile_rows is not None:
        raise RopewalkError(
            "no rope block has learned biases, encoded values, waves that decay or embeddings of "
            "positions; nearest: the same without them"
        )
    if encoding.frequencies is None:
        raise RopewalkError(
            "no rope block says that nothing rotates; nearest: none, unscaled RoPE, or rw.extend "
            "in transformers, which computes it"
        )
    if encoding.score_mods:
        raise RopewalkError(
            "no rope block scales or biases logits; nearest: the same without it, or "
            "yarn, whose attention_factor sharpens every row alike"
        )
    if encoding.row_dependent and isinstance(encoding.length_policy, PerQuery):
        raise RopewalkError(
            "no engine gives each row frequencies of its own (policy=per_query); "
            f"nearest: policy=fixed,length={length}"
        )
    if not encoding.rotation.shift_invariant:
        raise RopewalkError(
            "no rope block turns single positions otherwise (start_tokens); nearest: "
            "the same without it"
        )


_MAPS_NEARBY: Mapping[type, str] = MappingProxyType(
    {
        DualChunk: " (vLLM and SGLang read dual_chunk_attention_config, and no attention backend "
        "of these releases uses it)",
        SelfExtend: " (llama-completion's -gan and -gaw divide cached positions instead, which "
        "is not its two-region map)",
    }
)

_Written = tuple[str, float, dict[str, Any]]
"""(rope_type, rope_theta, parameters)"""


def _settled(frequencies: Frequencies, at: int) -> _Written:
    """The block of frequencies at one L."""
    written: _Written
    theta = frequencies.geometry.rope_theta
    match frequencies:
        case Unscaled():
            written = "default", theta, {}
        case NTKAware(factor=factor):
            d = frequencies.geometry.rotary_dim
            written = "default", stretched_base(theta, d, factor), {}
        case DynamicNTK():
            written = "default", frequencies.base(at), {}
        case Linear(factor=factor):
            written = "linear", theta, {"factor": factor}
        case NTKByParts():
            written = _by_parts(frequencies)
        case DynamicYaRN():
            written = _by_parts(frequencies.at(at))
        case LongRoPE(short_factor=short, long_factor=long):
            divisors = list(long if at > frequencies.geometry.trained_length else short)
            lists = {"short_factor": divisors, "long_factor": divisors}
            written = "longrope", theta, {**lists, ORIGINAL: frequencies.geometry.trained_length}
        case Proportional(partial_rotary_factor=share, factor=factor):
            scaled = {} if factor == 1 else {"factor": factor}
            written = "proportional", theta, {"partial_rotary_factor": share, **scaled}
        case _:
            raise NoRopeType(f"no rope_type has its frequencies ({type(frequencies).__name__})")
    return written


def _by_parts(frequencies: NTKByParts) -> _Written:
    theta, factor = frequencies.geometry.rope_theta, frequencies.factor
    shared = {"factor": factor, ORIGINAL: frequencies.geometry.trained_length}
    match frequencies.ramp:
        case IndexRamp(beta_fast=fast, beta_slow=slow, truncate=truncate):
            betas = {"beta_fast": fast, "beta_slow": slow, "truncate": truncate}
            return "yarn", theta, {**shared, **betas}
        case TurnsRamp(beta_fast=fast, beta_slow=slow) if frequencies.magnitude == 1:
            return "llama3", theta, {**shared, "low_freq_factor": slow, "high_freq_factor": fast}
    raise NoRopeType(
        "every engine's YaRN has a ramp over pairs, and llama3, whose ramp is over turns, has no "
        "attention factor"
    )


def _following(frequencies: Frequencies) -> _Written:
    """The block of frequencies that follow the sequence so far."""
    theta = frequencies.geometry.rope_theta
    match frequencies:
        case DynamicNTK(factor=factor):
            return "dynamic", theta, {"factor": factor}
        case LongRoPE(short_factor=short, long_factor=long):
            lists = {"short_factor": list(short), "long_factor": list(long)}
            return "longrope", theta, {**lists, ORIGINAL: frequencies.geometry.trained_length}
    raise RopewalkError(
        f"{type(frequencies).__name__} of the sequence so far: no rope_type of any engine "
        "follows it; nearest: policy=fixed with a length"
    )
