"""transformers 5.23.0: how each rope type is read.

Source: transformers 5.23.0, modeling_rope_utils.py (ROPE_INIT_FUNCTIONS, dynamic_rope_update);
    models/phimoe, models/olmo3, models/hunyuan_v1_dense for what those classes do themselves.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ropewalk.configs.families import WITHOUT_CLASS
from ropewalk.core.geometry import RopeGeometry
from ropewalk.engines.answer import Rotation
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.rows import (
    LinearRow,
    Llama3Row,
    LongRopeRow,
    ProportionalRow,
    Rule,
    UnscaledRow,
    YarnRow,
    stretched,
)
from ropewalk.engines.stated import ROUNDED, Stated, optional, required, truncate
from ropewalk.engines.transformers.config_class import loaded_type
from ropewalk.frequencies.dynamic_ntk import DynamicNTK

OLMO3_THETA = 500_000.0
_FILL_HEAD_DIM = frozenset(
    {"arcee", "aria_text", "csm", "deepseek_v2", "diffllama", "ernie4_5", "eurobert", "hyperclovax"}
    | {"internlm3", "jais2", "llama", "minicpm3", "mistral", "moshi", "nemotron", "nomic_bert"}
    | {"gpt_oss", "ministral3", "longcat_flash", "seed_oss"}
)
_NEEDS_HEAD_DIM = ("dynamic", "yarn", "longrope")
_CACHED = "keys already in the cache keep the rotation they were written with"
_NULL_DIVISOR = "TypeError: unsupported operand type(s) for /=: 'Tensor' and 'NoneType'"
_FACTOR = required("factor", _NULL_DIVISOR)


def hf_rotation(reading: Reading) -> Rotation:
    """The rotation of the library's own rotary module, which vLLM's and SGLang's transformers
    backends run as well. EngineRaises where the library raises."""
    if reading.model_type in WITHOUT_CLASS:
        raise EngineRaises(
            f"cannot load: transformers 5.23.0 has no class of {reading.model_type}; remote code"
        )
    name = loaded_type(reading)
    if name not in _RULES:
        raise EngineRaises(f"KeyError: {name!r}")
    if name in _NEEDS_HEAD_DIM and _head_dim_is_null(reading):
        raise EngineRaises("TypeError: unsupported operand type(s) for *: 'NoneType' and 'float'")
    return _RULES[name](reading)


def served_length(reading: Reading) -> int:
    """L of one call: the length asked for, else M."""
    return reading.served_length or reading.longest


def _geometry(reading: Reading) -> RopeGeometry:
    """OLMo-3's class gives sliding layers its own default base, whatever a flat config states."""
    own = reading.model_type == "olmo3" and reading.section.layer_type == "sliding_attention"
    geometry = reading.geometry()
    return replace(geometry, rope_theta=OLMO3_THETA) if own and not reading.nested else geometry


def _dynamic(reading: Reading) -> Rotation:
    """theta * (s N / M - (s - 1))^(d / (d - 2)), N = max(tokens so far, M); Hunyuan's alpha
    stretches the base once."""
    alpha = reading.number("alpha")
    if alpha and reading.model_type.startswith("hunyuan"):
        return replace(stretched(reading, Stated(alpha, ("alpha",))), choice="one base (alpha)")
    factor = _FACTOR(reading)
    return Rotation(
        frequencies=DynamicNTK(geometry=reading.geometry(reading.longest), factor=factor.value),
        choice="the base grows with max(position)+1 over the whole batch, beyond "
        "max_position_embeddings",
        keys_read=factor.keys,
        notes=(_CACHED,),
    )


def _truncate(reading: Reading) -> Stated:
    """Read beside the dicts of layer types, so that a nested one never counts."""
    return (ROUNDED if reading.nested else truncate)(reading)


def _longrope(reading: Reading) -> Rotation:
    if reading.model_type == "phimoe":
        return _phimoe(reading)
    return _LONGROPE(reading)


def _phimoe(reading: Reading) -> Rotation:
    """PhiMoE computes its frequencies without a length: the short list under two magnitudes."""
    lists, keys = replace(_LONGROPE, magnitudes=_phimoe_magnitudes).lists(reading)
    return Rotation(
        frequencies=replace(lists, long_factor=lists.short_factor),
        choice="always the short list; only its magnitude follows the length",
        keys_read=keys,
    )


def _phimoe_magnitudes(reading: Reading) -> tuple[Stated, Stated]:
    """A call reads one of the two, so that the other may be missing."""
    used = "long_mscale" if served_length(reading) > reading.original else "short_mscale"
    value = required(used, f"KeyError: '{used}'")(reading).value
    short, long = (optional(key, value)(reading) for key in ("short_mscale", "long_mscale"))
    return short, long


_LONGROPE = LongRopeRow(
    choice="the long list for a whole call as soon as max(position)+1 exceeds {original}",
    notes=(_CACHED,),
)
_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "default": UnscaledRow(geometry=_geometry),
        "linear": LinearRow(factor=_FACTOR),
        "dynamic": _dynamic,
        "yarn": YarnRow(truncate=_truncate),
        "longrope": _longrope,
        "llama3": Llama3Row.requiring(_NULL_DIVISOR),
        "proportional": ProportionalRow(factor=optional("factor", 1.0)),
    }
)


def _head_dim_is_null(reading: Reading) -> bool:
    stated_null = "head_dim" in reading.text and reading.text["head_dim"] is None
    return stated_null and reading.model_type not in _FILL_HEAD_DIM
