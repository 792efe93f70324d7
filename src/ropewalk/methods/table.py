"""METHODS: every method by its name. The one place where a name becomes a function."""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.methods.absolute import LEARNED, SINUSOIDAL
from ropewalk.methods.alibi import ALIBI
from ropewalk.methods.clipped import CLIPPED
from ropewalk.methods.dual_chunk import DUAL_CHUNK
from ropewalk.methods.linear import LINEAR
from ropewalk.methods.logit_scales import LOG_N, TEMPERATURE, YARN_TEMPERATURE
from ropewalk.methods.longrope import LONGROPE
from ropewalk.methods.method import Method
from ropewalk.methods.nope import NOPE
from ropewalk.methods.ntk import DYNAMIC_NTK, NTK_AWARE
from ropewalk.methods.proportional import PROPORTIONAL
from ropewalk.methods.relative_bias import FIRE, FOX, INKLING, KERPLE, T5_BIAS
from ropewalk.methods.rerope import INVERSE_LEAKY_REROPE, LEAKY_REROPE, REROPE
from ropewalk.methods.resonance import RESONANCE
from ropewalk.methods.self_extend import SELF_EXTEND
from ropewalk.methods.shaw import SHAW
from ropewalk.methods.string import STRING
from ropewalk.methods.unscaled import ABF, NONE
from ropewalk.methods.xpos import ROPE_VALUES, XPOS
from ropewalk.methods.yarn import DYNAMIC_YARN, LLAMA3, NTK_BY_PARTS, YARN

_ALL = (
    NONE,
    LINEAR,
    NTK_AWARE,
    DYNAMIC_NTK,
    NTK_BY_PARTS,
    YARN,
    DYNAMIC_YARN,
    LLAMA3,
    ABF,
    LONGROPE,
    PROPORTIONAL,
    CLIPPED,
    RESONANCE,
    REROPE,
    LEAKY_REROPE,
    INVERSE_LEAKY_REROPE,
    SELF_EXTEND,
    DUAL_CHUNK,
    STRING,
    LOG_N,
    TEMPERATURE,
    YARN_TEMPERATURE,
    NOPE,
    ALIBI,
    T5_BIAS,
    KERPLE,
    FIRE,
    FOX,
    INKLING,
    SHAW,
    XPOS,
    ROPE_VALUES,
    LEARNED,
    SINUSOIDAL,
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})
