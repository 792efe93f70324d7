"""SGLang 0.5.23: tables built at load that grow on demand.

Source: SGLang 0.5.23, srt/layers/rotary_embedding (factory, base, yarn, mrope, rope_variant),
    srt/configs/model_config.py, srt/utils/hf_transformers/common.py, srt/models/deepseek_v2.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.magnitudes import latent_multiplier
from ropewalk.engines.reading import EngineRaises, Reading, length
from ropewalk.engines.sglang.rules import RULES, deepseek_yarn
from ropewalk.engines.transformers.config_class import loaded_type
from ropewalk.engines.turning import Turning, answered

NAME, VERSION = "sglang", "0.5.23"
WITHOUT_MODEL = frozenset({"nomic_bert", "gpt_neox"})
"""Model types for which srt/models has no class; a few of those that could be asked about."""
LENGTH_KEYS = (
    *("max_sequence_length", "seq_length", "max_seq_len", "model_max_length"),
    "max_position_embeddings",
)
_LENGTH_WITHOUT_KEYS = 2048


def sglang_0_5_23(
    config: Mapping[str, Any], served_length: int | None, layer_type: str | None
) -> EngineAnswer:
    """What SGLang computes for a batch whose longest sequence has ``served_length`` tokens
    (default: the context length that it derives)."""
    reading = Reading.of(config, served_length, layer_type)
    frame = EngineAnswer(
        engine=NAME,
        version=VERSION,
        table_dtype="float32 on CUDA",
        choice="one table, grown on demand",
        pairing=reading.section.pairing,
        keys_read=frozenset(),
    )
    if reading.model_type in WITHOUT_MODEL:
        note = f"no native {reading.model_type} model in sglang.srt.models {VERSION}"
        return replace(frame, softmax_scale_multiplier=1.0, notes=(note,))
    try:
        name = loaded_type(reading)
        frame = replace(
            frame,
            max_length=context_length(reading),
            softmax_scale_multiplier=_softmax_multiplier(reading, name),
        )
        turned = _turning(reading, name)
    except EngineRaises as raised:
        return replace(frame, error=str(raised))
    return answered(frame, turned)


def context_length(reading: Reading) -> int:
    """The first stated length, times factor where the dict has no original length.

    A dict for each layer type has no factor of its own, so that nothing is multiplied.
    """
    stated = next((k for k in LENGTH_KEYS if reading.text.get(k) is not None), None)
    if stated is None:
        return _LENGTH_WITHOUT_KEYS
    tokens = length(reading.text[stated], stated)
    if reading.nested or reading.has_original:
        return tokens
    factor = reading.number("factor")
    return int(tokens * (1.0 if factor is None else factor))


def _turning(reading: Reading, name: str) -> Turning:
    if reading.model_type == "olmo3":
        raise EngineRaises("TypeError: unhashable type: 'dict'")
    served = reading.served_length or context_length(reading)
    if reading.latent and name != "default":
        return deepseek_yarn(reading, served)
    if name not in RULES:
        raise EngineRaises(f"ValueError: Unknown RoPE scaling type {name}")
    return RULES[name](reading, served)


def _softmax_multiplier(reading: Reading, name: str) -> float:
    """MLA: m(factor, mscale_all_dim)^2, unless apply_yarn_scaling or apply_scale is false.

    Source: SGLang 0.5.23 compute_mla_mscale_scaling (pull request 26203).
    """
    flags = ("apply_yarn_scaling", "apply_scale")
    switched_off = any(key in reading.rope and not reading.rope[key] for key in flags)
    if not reading.section.latent_attention or name == "default" or switched_off:
        return 1.0
    return latent_multiplier(reading)
