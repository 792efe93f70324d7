"""METHODS: every method by its name. The one place where a name becomes a function."""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.methods.dual_chunk import dual_chunk
from ropewalk.methods.linear import linear
from ropewalk.methods.logit_scales import log_n, temperature, yarn_temperature
from ropewalk.methods.longrope import longrope
from ropewalk.methods.method import Method, Promise
from ropewalk.methods.ntk import dynamic_ntk, ntk_aware
from ropewalk.methods.proportional import proportional
from ropewalk.methods.rerope import inverse_leaky_rerope, leaky_rerope, rerope
from ropewalk.methods.self_extend import self_extend
from ropewalk.methods.string import string
from ropewalk.methods.unscaled import abf, native, none
from ropewalk.methods.yarn import dynamic_yarn, llama3, ntk_by_parts, yarn

_ONE_MAP = frozenset({Promise.ONE_MAP})
_SHIFTS = _ONE_MAP | {Promise.SHIFT_INVARIANT}
_ROTATES = _SHIFTS | {Promise.ROTATION_ONLY}
_SCALES = _SHIFTS | {Promise.TRAINED_LENGTH_IS_ROPE}
_SHARPENS = _SCALES | {Promise.FACTOR_ONE_IS_ROPE}
_KEEPS_FASTEST = _ROTATES | {Promise.FASTEST_PAIR_KEPT}
_NONE = _KEEPS_FASTEST | {Promise.TRAINED_LENGTH_IS_ROPE}
_DYNAMIC = _NONE | {Promise.LENGTH_DEPENDENT}
_LINEAR = _ROTATES | {Promise.FACTOR_ONE_IS_ROPE, Promise.SLOWEST_PAIR_DIVIDED}
_BY_PARTS = _LINEAR | {Promise.FASTEST_PAIR_KEPT}
_LONGROPE = _ONE_MAP | {Promise.ROTATION_ONLY, Promise.LENGTH_DEPENDENT}
_ROPE = frozenset({Promise.TRAINED_LENGTH_IS_ROPE, Promise.FASTEST_PAIR_KEPT})
_IN_RANGE = _ROPE | {Promise.DISTANCES_IN_RANGE}
_GROUPS = _IN_RANGE | {Promise.ROTATION_ONLY}
_SHIFTED = _IN_RANGE | {Promise.SHIFT_INVARIANT}
_RECTIFIED = _GROUPS | {Promise.SHIFT_INVARIANT}
_LEAKY = _RECTIFIED | {Promise.FACTOR_ONE_IS_ROPE}
_STRETCHED = _ROPE | {Promise.ROTATION_ONLY, Promise.SHIFT_INVARIANT}

_ALL = (
    Method("native", native, "what the model's own config asks for", _ONE_MAP),
    Method("none", none, "unscaled RoPE: direct extrapolation", _NONE),
    Method("linear", linear, "position interpolation: every pair turns slower", _LINEAR),
    Method("ntk_aware", ntk_aware, "a larger base, so that slow pairs slow down", _BY_PARTS),
    Method("dynamic_ntk", dynamic_ntk, "the NTK-aware base grows with the context", _DYNAMIC),
    Method("ntk_by_parts", ntk_by_parts, "fast pairs kept, slow pairs interpolated", _BY_PARTS),
    Method("yarn", yarn, "NTK-by-parts with an attention factor", _BY_PARTS),
    Method("dynamic_yarn", dynamic_yarn, "YaRN whose factor follows the context", _DYNAMIC),
    Method("llama3", llama3, "Llama 3.1's blend of kept and slowed pairs", _BY_PARTS),
    Method("abf", abf, "another base, for a model fine-tuned to it", _KEEPS_FASTEST),
    Method("longrope", longrope, "searched divisors, a short and a long list", _LONGROPE),
    Method("proportional", proportional, "only the fastest share of the pairs turns", _ROTATES),
    Method("rerope", rerope, "distances constant beyond a window", _RECTIFIED),
    Method(
        "leaky_rerope",
        leaky_rerope,
        "distances grow slower beyond a window",
        _LEAKY,
        replaces_factor="slope",
    ),
    Method(
        "inverse_leaky_rerope",
        inverse_leaky_rerope,
        "distances stretched in training, for plain RoPE later",
        _STRETCHED,
    ),
    Method(
        "self_extend",
        self_extend,
        "distances between groups of tokens beyond a window",
        _GROUPS | {Promise.FACTOR_ONE_IS_ROPE},
        replaces_factor="group_size",
    ),
    Method("dual_chunk", dual_chunk, "positions start again in every chunk", _IN_RANGE),
    Method("string", string, "far distances shifted to well-trained ones", _SHIFTED),
    Method("log_n", log_n, "logits grow with the logarithm of the context", _SCALES),
    Method("temperature", temperature, "every logit times a constant", _SCALES),
    Method("yarn_temperature", yarn_temperature, "YaRN's sharpening on its own", _SHARPENS),
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})
