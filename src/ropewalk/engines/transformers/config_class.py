"""What transformers' config classes refuse: vLLM and SGLang load configs through them too.

Source: transformers 5.23.0, modeling_rope_utils.py (RotaryEmbeddingConfigMixin) and
    models/phi3/configuration_phi3.py.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ropewalk.configs import families
from ropewalk.configs.keys import ORIGINAL
from ropewalk.configs.rope import TYPES_FROM_ORIGINAL
from ropewalk.configs.text import rope_beside_section
from ropewalk.engines.reading import EngineRaises, Reading

REQUIRED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "linear": ("factor",),
        "dynamic": ("factor",),
        "yarn": ("factor", ORIGINAL),
        "longrope": ("short_factor", "long_factor", ORIGINAL),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
    }
)
PHI3_TYPES = ("default", "longrope")
"""What Phi-3's class knows."""
_QWEN_VL = frozenset({"qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"})


def loaded_type(reading: Reading) -> str:
    """The rope type after loading; EngineRaises where the config class raises.

    Phi-3's class turns ``su`` and ``yarn`` into ``longrope`` and knows no other scaling, the
    Qwen-VL classes turn ``mrope`` into ``default``; required keys are checked after that.
    """
    _check_layers(reading)
    _check_outside(reading)
    name = reading.written_type
    if reading.model_type == "phi3" and name in ("su", "yarn"):
        name = "longrope"
    if reading.model_type in _QWEN_VL and name == "mrope":
        name = "default"
    _check_keys(reading, name)
    if reading.model_type == "phi3" and name not in PHI3_TYPES:
        raise EngineRaises(
            "StrictDataclassClassValidationError: Class validation error for validator "
            "'validate_rope': ValueError: `rope_parameters`'s type field must be one of "
            f"['longrope'], got {name}"
        )
    return name


def _check_outside(reading: Reading) -> None:
    """A rope dict outside the text section is the wrapper's own, whose class has no lengths."""
    config = reading.shape.config
    outside = rope_beside_section(config)
    kind = outside.get("rope_type") or outside.get("type")
    if str(kind) in TYPES_FROM_ORIGINAL and config.get("max_position_embeddings") is None:
        raise EngineRaises(
            "AttributeError: the config of the whole has no attribute 'max_position_embeddings'"
        )


def _check_layers(reading: Reading) -> None:
    """A type for each layer, in every family that the library has a class of."""
    types, count = reading.text.get("layer_types"), reading.text.get("num_hidden_layers")
    if not isinstance(types, list | tuple) or not isinstance(count, int):
        return
    if len(types) != count and reading.model_type not in families.WITHOUT_CLASS:
        raise EngineRaises(
            "StrictDataclassClassValidationError: Class validation error for validator "
            f"'validate_layer_type': ValueError: `num_hidden_layers` ({count}) must be equal to "
            f"the number of `layer_types` ({len(types)})"
        )


def _check_keys(reading: Reading, name: str) -> None:
    present = {*reading.rope}
    if reading.has_original:
        present.add(ORIGINAL)
    missing = [key for key in REQUIRED.get(name, ()) if key not in present]
    if missing:
        listed = ", ".join(map(repr, missing))
        raise EngineRaises(
            'KeyError: "Missing required keys in `rope_parameters` for '
            f"'rope_type'='{name}': {{{listed}}}\""
        )
