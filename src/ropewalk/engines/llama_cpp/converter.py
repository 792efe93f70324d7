"""What llama.cpp's converter takes of a config, by model type: most classes take base and type,
some write neither, and Llama 3's divisors are written by the classes over its own Llama alone.

Source: llama.cpp 11434 (the release after 0c1e57098), conversion/base.py (set_gguf_parameters)
    and the classes that stand over it; run on the default config of 112 model types under five
    rope dicts each.
"""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.keys import ORIGINAL, SHARES
from ropewalk.configs.text import with_text_keys
from ropewalk.engines.llama_cpp.architectures import CONVERTED
from ropewalk.engines.patch import ConfigPatch
from ropewalk.engines.reading import EngineRaises, Reading

OWN_BASE = 10_000.0
"""What a graph takes where a file states no base."""
BAKES_LLAMA3 = frozenset(
    {"apertus", "arcee", "deci", "exaone", "exaone4", "exaone_moe", "granite_swa"}
    | {"granitemoe_swa", "internlm3", "iquestcoder", "llama", "llama4_text", "mistral"}
    | {"mistral4", "mixtral", "nanbeige", "nemotron-nas", "step3p5"}
)
"""Write Llama 3's divisors as rope_freqs; all others write type none, and say nothing."""
_WITHOUT_ROPE_FREQS = frozenset({"afmoe", "cogvlm", "granite", "granitemoe", "granitemoeshared"})
_WRITES_NOTHING = frozenset(
    {"codeshell", "falcon", "gemma", "gemma2", "glm", "orion", "phi", "plamo", "stablelm"}
)
"""Neither the base nor the type."""
_WRITES_NO_BASE = _WRITES_NOTHING | {"minicpm3"}
WRITES_LISTS = frozenset({"minicpm", "minicpm3", "phi3", "phi4_multimodal", "phimoe"})
"""Write LongRoPE's lists (rope_factors_short, rope_factors_long).

The graphs of llama, qwen2 and many others would read these tensors, which nothing writes there.
"""
STORES_LIST_LENGTH = WRITES_LISTS - {"minicpm", "minicpm3"}
"""Write LongRoPE's attention factor and its original length beside the lists; for the others the
factor is 1 and the long list is never read."""
_LISTS_ALONE = WRITES_LISTS - {"minicpm"}
_WRITES_NO_TYPE = frozenset(
    {"bitnet", "chatglm", "cohere", "cohere2", "cohere2_moe", "dbrx", "deepseek", "eurobert"}
    | {"exaone_moe", "falcon_h1", "modernbert", "openelm"}
)
_HALF_UNLESS_STATED = frozenset({"glm4v_text", "glm_ocr_text", "solar_open"})
_UNSCALED = ("default", "none")
_LISTS = ("longrope", "su")


def as_converted(reading: Reading) -> Reading:
    """The same config with the rope dict that the file will state.

    Raises EngineRaises where the converter does, or llama.cpp on the file.
    """
    _raise_for(reading)
    kind, written = reading.model_type, reading.written_type
    rope: dict[str, Any] = {}
    if kind in _WRITES_NO_BASE and reading.section.rope_theta != OWN_BASE:
        rope["rope_theta"] = OWN_BASE
    if kind == "nemotron" and reading.number("factor") is not None:
        rope["rope_type"] = "linear"
    elif written not in _UNSCALED and drops_type(reading):
        rope["rope_type"] = "default"
    elif written in _LISTS and kind in WRITES_LISTS - STORES_LIST_LENGTH:
        rope[ORIGINAL] = reading.longest
    keys = {SHARES[0]: 0.5} if takes_half(reading) else {}
    return restated(reading, rope, keys) if rope or keys else reading


def drops_type(reading: Reading) -> bool:
    """Whether the class writes no scaling of that type, although the converter knows it."""
    kind, written = reading.model_type, reading.written_type
    if written == "llama3":
        return kind not in BAKES_LLAMA3
    if kind in _LISTS_ALONE:
        return written not in _LISTS
    return kind in _WRITES_NOTHING or kind in _WRITES_NO_TYPE


def drops_base(reading: Reading) -> bool:
    """Whether the class writes no base, and the graph's own is another."""
    return reading.model_type in _WRITES_NO_BASE and reading.section.rope_theta != OWN_BASE


def takes_half(reading: Reading) -> bool:
    """Whether the class turns half of each head, for want of a share in the config."""
    states = (reading.text.get(k) or reading.rope.get(k) for k in SHARES)
    return reading.model_type in _HALF_UNLESS_STATED and not any(states)


def restated(reading: Reading, rope: Mapping[str, Any], keys: Mapping[str, Any]) -> Reading:
    """The reading of the config with other keys in its rope dict and beside it."""
    without = {k: v for k, v in reading.rope.items() if k != "type" or "rope_type" not in rope}
    patch = ConfigPatch.of(reading.shape, reading.section, {**without, **rope}, {})
    config = patch.applied(reading.shape.config)
    shape = reading.shape.reread(with_text_keys(config, reading.shape.text_section, keys))
    return Reading.of(shape, reading.served_length, reading.section.layer_type)


def _raise_for(reading: Reading) -> None:
    kind, written = reading.model_type, reading.written_type
    if reading.architecture and reading.architecture not in CONVERTED:
        raise EngineRaises(f"cannot load: Architecture {reading.architecture!r} not supported!")
    if kind == "gpt_neox":  # the converter reads the config as transformers 5 has it
        raise EngineRaises("KeyError: 'rotary_pct'")
    if kind == "cohere2" and reading.text.get("rotary_pct") is None:
        raise EngineRaises("KeyError: 'rotary_pct'")
    if kind == "ministral3" and written != "yarn":
        raise EngineRaises("AssertionError: ministral3 rope_type must be 'yarn'")
    if written == "llama3" and kind in _WITHOUT_ROPE_FREQS:
        raise EngineRaises("ValueError: Missing ROPE_FREQS for MODEL_TENSORS")
    if written == "llama3" and kind == "smollm3":
        raise EngineRaises("runtime_error: done_getting_tensors: wrong number of tensors")
