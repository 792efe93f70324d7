"""What MLX-LM makes of a rope dict.

``type`` wins over ``rope_type``. What departs from the other engines:

longrope   always the long list; A = sqrt(1 + ln(M / L) / ln L), whatever factor says
yarn       A = m(s, mscale) / m(s, mscale_all_dim) with 1 and 0 where they are absent; cut-offs are
           rounded; L is 4,096 unless it stands inside the dict; attention_factor is not read
dynamic    the base follows the tokens so far; keys in the cache keep the one they were written with
llama3     L is 8,192 unless it stands inside the dict

Source: MLX-LM 0.32.2, models/rope_utils.py (initialize_rope and its classes), models/phi3.py,
    phimoe.py, minicpm3.py, deepseek.py, deepseek_v2.py, hunyuan.py, hunyuan_v1_dense.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ropewalk.configs.keys import ORIGINAL
from ropewalk.core.geometry import RopeGeometry
from ropewalk.engines.answer import Rotation
from ropewalk.engines.magnitudes import mscale_ratio
from ropewalk.engines.mlx_lm.keys import Keys, taken
from ropewalk.engines.ramps import ReleasedRamp, StretchedBase
from ropewalk.engines.reading import EngineRaises
from ropewalk.frequencies.dynamic_ntk import DynamicNTK
from ropewalk.frequencies.linear import Linear
from ropewalk.frequencies.longrope import LongRoPE, longrope_attention_factor
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.proportional import Proportional
from ropewalk.frequencies.ramps import IndexRamp, TurnsRamp
from ropewalk.frequencies.unscaled import Unscaled

YARN_ORIGINAL, LLAMA3_ORIGINAL, LONGROPE_ORIGINAL = 4096, 8192, 4096
CACHED = "keys already in the cache keep the rotation they were written with"
LONG_ALWAYS = "the long list at every length: the short one is not read"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInputs:
    """What a file hands over.

    keys      of the text model
    rope      its dict, None for none
    geometry  the base and the channels that turn
    longest   max_position_embeddings
    """

    keys: Keys
    rope: Keys | None
    geometry: RopeGeometry
    longest: int

    def number(self, name: str, default: float | None = None) -> float:
        """Inside the dict; EngineRaises where it is missing and has no default."""
        rope = self.rope or {}
        if name not in rope and default is None:
            raise EngineRaises(f"KeyError: '{name}'")
        return taken(rope, name, default)

    def divisors(self, name: str) -> tuple[float, ...]:
        """A list inside the dict; a number stands for as many as there are pairs."""
        rope, pairs = self.rope or {}, self.geometry.rotary_dim // 2
        if name not in rope:
            raise EngineRaises(f"KeyError: '{name}'")
        value = rope[name]
        if not isinstance(value, list | tuple):
            return (taken(rope, name),) * pairs
        found = tuple(taken({name: each}, name) for each in value)
        if len(found) != pairs:
            raise EngineRaises(f"ValueError: {len(found)} and {pairs} entries cannot be broadcast")
        return found


Make = Callable[[RuleInputs], Rotation]


def initialize_rope(given: RuleInputs) -> Rotation:
    """EngineRaises for a type that the release does not know."""
    rope = given.rope or {}
    name = str(rope.get("type") or rope.get("rope_type", "default"))
    if name not in _TYPES:
        raise EngineRaises(f"ValueError: Unsupported RoPE type {name:.40}")
    return _TYPES[name](given)


def unscaled(given: RuleInputs) -> Rotation:
    return Rotation(frequencies=Unscaled(geometry=given.geometry))


def _linear(given: RuleInputs) -> Rotation:
    frequencies = Linear(geometry=given.geometry, factor=given.number("factor"))
    return Rotation(frequencies=frequencies, keys_read=("factor",))


def _dynamic(given: RuleInputs) -> Rotation:
    geometry = replace(given.geometry, trained_length=given.longest)
    return Rotation(
        frequencies=DynamicNTK(geometry=geometry, factor=given.number("factor")),
        choice="the base follows the tokens so far, beyond max_position_embeddings",
        keys_read=("factor",),
        notes=(CACHED,),
    )


def _llama3(given: RuleInputs) -> Rotation:
    original = int(given.number(ORIGINAL, LLAMA3_ORIGINAL))
    ramp = TurnsRamp(
        beta_fast=given.number("high_freq_factor", 4.0),
        beta_slow=given.number("low_freq_factor", 1.0),
    )
    frequencies = NTKByParts(
        geometry=replace(given.geometry, trained_length=original),
        factor=given.number("factor"),
        ramp=ramp,
    )
    keys = ("factor", "low_freq_factor", "high_freq_factor", ORIGINAL)
    return Rotation(frequencies=frequencies, keys_read=keys)


def yarn(given: RuleInputs) -> Rotation:
    """Read for the types yarn, deepseek_yarn and telechat3-yarn; for DeepSeek-V2 always."""
    factor = given.number("factor")
    betas = (given.number("beta_fast", 32.0), given.number("beta_slow", 1.0))
    if 0 in betas:
        raise EngineRaises("ZeroDivisionError: division by zero")
    original = int(given.number(ORIGINAL, YARN_ORIGINAL))
    ramp = IndexRamp(beta_fast=betas[0], beta_slow=betas[1], truncate=True)
    frequencies = NTKByParts(
        geometry=replace(given.geometry, trained_length=original),
        factor=factor,
        ramp=ReleasedRamp(inner=ramp),
        magnitude=mscale_ratio(
            factor, given.number("mscale", 1.0), given.number("mscale_all_dim", 0.0)
        ),
    )
    keys = ("factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", ORIGINAL)
    return Rotation(frequencies=frequencies, keys_read=keys)


def deepseek_v2(given: RuleInputs) -> Rotation:
    """YaRN whatever the type."""
    if given.rope is None:
        raise EngineRaises("AttributeError: 'NoneType' object has no attribute 'get'")
    return yarn(given)


def _longrope(given: RuleInputs) -> Rotation:
    return _long_list(given, int(given.number(ORIGINAL)))


def _long_list(given: RuleInputs, original: int, magnitude: float | None = None) -> Rotation:
    short, long = map(given.divisors, ("short_factor", "long_factor"))
    computed = longrope_attention_factor(given.longest / original, original)
    scale = magnitude or computed
    lists = LongRoPE(
        geometry=replace(given.geometry, trained_length=original),
        short_factor=long,
        long_factor=long,
        short_magnitude=scale,
        long_magnitude=scale,
    )
    return Rotation(
        frequencies=lists,
        choice=LONG_ALWAYS,
        keys_read=("long_factor", ORIGINAL),
        notes=(LONG_ALWAYS,) if short != long else (),
    )


def phi3(given: RuleInputs) -> Rotation:
    """linear, su and longrope; any other type is dropped with a warning. L stands beside."""
    if given.rope is None:
        return unscaled(given)
    if missing := [key for key in ("long_factor", "type") if key not in given.rope]:
        raise EngineRaises(f"ValueError: rope_scaling must contain keys {{{missing[0]!r}, ...}}")
    kind = given.rope["type"]
    if kind in ("su", "longrope"):
        return _long_list(given, int(taken(given.keys, ORIGINAL, LONGROPE_ORIGINAL)))
    return _linear(given) if kind == "linear" else unscaled(given)


def phimoe(given: RuleInputs) -> Rotation:
    """long_mscale is the magnitude of the long list; both must be there."""
    if given.rope is None:
        return unscaled(given)
    given.number("short_mscale")
    original = int(taken(given.keys, ORIGINAL, LONGROPE_ORIGINAL))
    return _long_list(given, original, given.number("long_mscale"))


def minicpm3(given: RuleInputs) -> Rotation:
    """Lists inside the dict, whatever its type."""
    if given.rope is None:
        raise EngineRaises("AttributeError: 'NoneType' object has no attribute 'get'")
    rope = {"short_factor": 1.0, "long_factor": 1.0, **given.rope}
    original = int(given.number(ORIGINAL, LONGROPE_ORIGINAL))
    return _long_list(replace(given, rope=rope), original)


def linear_alone(given: RuleInputs) -> Rotation:
    """DeepSeek's first: every other type is dropped."""
    if given.rope is None:
        return unscaled(given)
    if "type" not in given.rope:
        raise EngineRaises("KeyError: 'type'")
    return _linear(given) if given.rope["type"] == "linear" else unscaled(given)


def hunyuan(given: RuleInputs) -> Rotation:
    """alpha stretches the base once; ``factor`` is not read."""
    alpha = given.number("alpha", 1.0)
    frequencies = StretchedBase(geometry=given.geometry, stretch=alpha)
    return Rotation(frequencies=frequencies, choice="one base (alpha)", keys_read=("alpha",))


def checked(key: str, *types: str, then: Make = initialize_rope) -> Make:
    """``then`` behind a check of the file's own: ``factor`` and a type under ``key``."""

    def make(given: RuleInputs) -> Rotation:
        if given.rope is None:
            return unscaled(given)
        if missing := [name for name in ("factor", key) if name not in given.rope]:
            raise EngineRaises(f"ValueError: rope_scaling must contain {missing[0]!r}")
        if given.rope[key] not in types:
            raise EngineRaises(f"ValueError: {key!r} supports {', '.join(types)} alone")
        return then(given)

    return make


def _proportional(given: RuleInputs) -> Rotation:
    frequencies = Proportional(
        geometry=given.geometry,
        partial_rotary_factor=given.number("partial_rotary_factor", 1.0),
        factor=given.number("factor", 1.0),
    )
    return Rotation(frequencies=frequencies, keys_read=("partial_rotary_factor", "factor"))


def _mrope(given: RuleInputs) -> Rotation:
    sections = (given.rope or {}).get("mrope_section", [])
    if not isinstance(sections, list | tuple) or len(sections) != 3:
        raise EngineRaises("AssertionError: MRoPE currently only supports 3 sections")
    return unscaled(given)


_TYPES: Mapping[str, Make] = MappingProxyType(
    {
        **{"default": unscaled, "linear": _linear, "dynamic": _dynamic, "llama3": _llama3},
        **dict.fromkeys(("yarn", "deepseek_yarn", "telechat3-yarn"), yarn),
        **{"longrope": _longrope, "proportional": _proportional, "mrope": _mrope},
    }
)
