"""METHODS: every method by its name. The one place where a name becomes a function."""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.methods.linear import linear
from ropewalk.methods.logit_scales import log_n, temperature
from ropewalk.methods.longrope import longrope
from ropewalk.methods.method import Method, Promise
from ropewalk.methods.ntk import dynamic_ntk, ntk_aware
from ropewalk.methods.proportional import proportional
from ropewalk.methods.unscaled import abf, native, none
from ropewalk.methods.yarn import dynamic_yarn, llama3, ntk_by_parts, yarn

_ONE_MAP = frozenset({Promise.ONE_MAP})
_SHIFTS = _ONE_MAP | {Promise.SHIFT_INVARIANT}
_ROTATES = _SHIFTS | {Promise.ROTATION_ONLY}
_SCALES = _SHIFTS | {Promise.TRAINED_LENGTH_IS_ROPE}
_KEEPS_FASTEST = _ROTATES | {Promise.FASTEST_PAIR_KEPT}
_NONE = _KEEPS_FASTEST | {Promise.TRAINED_LENGTH_IS_ROPE}
_DYNAMIC = _NONE | {Promise.LENGTH_DEPENDENT}
_LINEAR = _ROTATES | {Promise.FACTOR_ONE_IS_ROPE, Promise.SLOWEST_PAIR_DIVIDED}
_BY_PARTS = _LINEAR | {Promise.FASTEST_PAIR_KEPT}
_LONGROPE = _ONE_MAP | {Promise.ROTATION_ONLY, Promise.LENGTH_DEPENDENT}

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
    Method("log_n", log_n, "logits grow with the logarithm of the context", _SCALES),
    Method("temperature", temperature, "every logit times a constant", _SCALES),
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})
