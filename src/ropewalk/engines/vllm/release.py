"""vLLM 0.33.0: static tables, built when the model is loaded.

Source: vLLM 0.33.0, config/model.py (_get_and_verify_max_len), transformers_utils/config.py,
    transformers_utils/model_arch_config_convertor.py, models/registry.py, models/deepseek_v2.py.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.magnitudes import latent_multiplier
from ropewalk.engines.reading import EngineRaises, Reading, length
from ropewalk.engines.transformers.config_class import loaded_type
from ropewalk.engines.transformers.release import hf_turning
from ropewalk.engines.turning import Turning, answered
from ropewalk.engines.vllm.dynamic import is_nomic
from ropewalk.engines.vllm.rules import RULES, deepseek_yarn

NAME, VERSION = "vllm", "0.33.0"
PHI3_ORIGINAL = 4096
"""original_max_position_embeddings of Phi-3's config class."""
LENGTH_KEYS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_target_positions", "max_sequence_length", "max_seq_length", "seq_len"),
)
_ALREADY_SCALED = frozenset(
    {"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"}
)
_THROUGH_TRANSFORMERS = frozenset(
    {"ArceeForCausalLM", "CwmForCausalLM", "FlexOlmoForCausalLM", "GlmForCausalLM"}
    | {"GPTNeoXForCausalLM", "HunYuanDenseV1ForCausalLM", "HunYuanMoEV1ForCausalLM"}
    | {"Jais2ForCausalLM", "MellumForCausalLM", "NanbeigeForCausalLM", "OlmoForCausalLM"}
    | {"Olmo2ForCausalLM", "Olmo3ForCausalLM", "PhiForCausalLM", "SeedOssForCausalLM"}
    | {"SmolLM3ForCausalLM", "Starcoder2ForCausalLM", "VaultGemmaForCausalLM"}
)


def vllm_0_33(
    config: Mapping[str, Any], served_length: int | None, layer_type: str | None
) -> EngineAnswer:
    """What vLLM computes with ``--max-model-len served_length`` (default: what it derives)."""
    reading = Reading.of(config, served_length, layer_type)
    frame = EngineAnswer(
        engine=NAME,
        version=VERSION,
        table_dtype="the model's dtype",
        choice="one table for every length",
        pairing=reading.section.pairing,
        keys_read=frozenset(),
    )
    try:
        name = vllm_type(reading)
        default_length = max_model_len(reading)
        frame = replace(frame, max_length=default_length)
        turned = _turning(reading, name, reading.served_length or default_length)
    except EngineRaises as raised:
        rows = _rows_without_rotation(reading, frame, str(raised))
        return replace(frame, error=str(raised), table_rows=rows)
    return replace(
        answered(frame, turned),
        softmax_scale_multiplier=_softmax_multiplier(reading, name),
    )


def through_transformers(reading: Reading) -> bool:
    """Whether the registry sends the architecture to the Transformers backend."""
    return reading.architecture in _THROUGH_TRANSFORMERS


def vllm_type(reading: Reading) -> str:
    """The rope type after loading and patch_legacy_rope_type; EngineRaises on a conflict."""
    loaded, legacy = loaded_type(reading), reading.rope.get("type")
    stated = reading.rope.get("rope_type")
    aliased = (legacy, stated) in (("su", "longrope"), ("mrope", "default"))
    if stated is not None and legacy is not None and stated != legacy and not aliased:
        raise EngineRaises(
            f"ValueError: Found conflicts between 'rope_type={stated}' (modern field) and "
            f"'type={legacy}' (legacy field). You should only specify one of them."
        )
    if loaded == "mrope" and "mrope_section" not in reading.rope:
        raise EngineRaises(
            "ValueError: Legacy rope_type 'mrope' requires 'mrope_section' in rope_parameters"
        )
    return {"su": "longrope", "mrope": "default"}.get(loaded, loaded)


def max_model_len(reading: Reading) -> int:
    """What vLLM serves by default: the shortest stated length, for most types times factor.

    LongRoPE defaults to original_max_position_embeddings beside the dict, if it stands there.
    """
    stated = [length(reading.text[k], k) for k in LENGTH_KEYS if reading.text.get(k) is not None]
    override = reading.text.get("model_max_length")
    derived = min(stated) if override is None else length(override, "model_max_length")
    ropes = _ropes_of_all_layers(reading)
    if any(_type(rope) in ("longrope", "su") for rope in ropes):
        own = PHI3_ORIGINAL if reading.model_type == "phi3" else derived
        return length(reading.text.get(ORIGINAL) or own, ORIGINAL)
    if "gemma3" in reading.model_type:
        return derived
    factor: float = 1.0
    for rope in ropes:
        if _type(rope) not in _ALREADY_SCALED and rope.get("factor") is not None:
            factor = _factor(rope["factor"])
    return int(derived * factor)


def _turning(reading: Reading, name: str, served: int) -> Turning:
    if through_transformers(reading):
        return _through_transformers(reading, served)
    max_position = served if is_nomic(reading) else reading.longest
    if reading.latent and name != "default":
        return deepseek_yarn(reading, max_position, served)
    if name not in RULES:
        raise EngineRaises(f"ValueError: Unknown RoPE scaling type {name}")
    return RULES[name](reading, max_position, served)


def _through_transformers(reading: Reading, served: int) -> Turning:
    turned = hf_turning(replace(reading, served_length=served))
    note = f"{reading.architecture} runs through the Transformers backend, with its bugs"
    return replace(turned, notes=(*turned.notes, note))


def _softmax_multiplier(reading: Reading, name: str) -> float:
    """MLA: m(factor, mscale_all_dim)^2, unless attention_factor is exactly 1.0.

    Source: vLLM 0.33.0 models/deepseek_v2.py; pull request 41569 for the rule that prefill and
        decode take one scale and that configs with compress_ratios take no mscale.
    """
    unscaled = not reading.section.latent_attention or name == "default"
    if unscaled or reading.number("attention_factor") == 1.0:
        return 1.0
    return latent_multiplier(reading)


def _rows_without_rotation(reading: Reading, frame: EngineAnswer, error: str) -> int | None:
    """A table that is no rotation is built all the same."""
    if not error.startswith("not a rotation"):
        return None
    return (reading.served_length or frame.max_length) if is_nomic(reading) else reading.longest


def _ropes_of_all_layers(reading: Reading) -> list[Mapping[str, Any]]:
    if not reading.nested:
        return [reading.rope]
    for name in ("rope_scaling", "rope_parameters"):
        if reading.text.get(name):
            layers = reading.text[name]
            return [rope for rope in layers.values() if isinstance(rope, Mapping)]
    return [reading.section.written]


def _type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _factor(value: object) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and 0 < value < math.inf else 1.0  # type: ignore[arg-type, operator]
