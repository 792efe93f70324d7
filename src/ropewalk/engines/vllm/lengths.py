"""vLLM 0.33.0: the length served by default, and the positions that a table is built for.

Source: vLLM 0.33.0, config/model.py (_get_and_verify_max_len),
    transformers_utils/model_arch_config_convertor.py, rotary_embedding/mrope.py,
    models/config.py (NomicBertModelConfig).
"""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.keys import ORIGINAL, ROPE_DICTS
from ropewalk.configs.numbers import is_number
from ropewalk.engines.reading import Reading, length

PHI3_ORIGINAL = 4096
"""original_max_position_embeddings of Phi-3's config class."""
LENGTH_KEYS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_target_positions", "max_sequence_length", "max_seq_length", "seq_len"),
)
_ALREADY_SCALED = frozenset(
    {"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"}
)
_VIDEO_ROWS = 4
_NO_VIDEO_ROWS = ("qwen3_vl", "qwen3_5")


def served_length(reading: Reading) -> int:
    """max_model_len as asked for, else as derived."""
    return reading.served_length or max_model_len(reading)


def max_position(reading: Reading) -> int:
    """P, positions of an unscaled table: max_position_embeddings; for Nomic the served length."""
    return served_length(reading) if is_nomic(reading) else reading.longest


def is_nomic(reading: Reading) -> bool:
    return reading.model_type == "nomic_bert" or reading.architecture == "NomicBertModel"


def positions_factor(reading: Reading) -> int:
    """How many times longer mrope's tables are, for positions of videos (qwen3_vl.py passes 1)."""
    if "mrope_section" not in reading.rope:
        return 1
    return 1 if reading.model_type.startswith(_NO_VIDEO_ROWS) else _VIDEO_ROWS


def max_model_len(reading: Reading) -> int:
    """What vLLM serves by default: the shortest stated length, for most types times factor.

    LongRoPE defaults to original_max_position_embeddings beside the dict, if it stands there.
    """
    stated = [length(reading.text[k], k) for k in LENGTH_KEYS if reading.text.get(k) is not None]
    override = reading.text.get("model_max_length")
    derived = (
        min(stated, default=reading.longest)
        if override is None
        else length(override, "model_max_length")
    )
    ropes = _ropes_of_all_layers(reading)
    if any(_type(rope) in ("longrope", "su") for rope in ropes):
        own = PHI3_ORIGINAL if reading.model_type == "phi3" else derived
        return length(reading.text.get(ORIGINAL) or own, ORIGINAL)
    if "gemma3" in reading.model_type:
        return derived
    scaled = (rope.get("factor") for rope in ropes if _type(rope) not in _ALREADY_SCALED)
    factors = [factor for factor in scaled if factor is not None]
    return int(derived * (factors[-1] if factors and _is_factor(factors[-1]) else 1))


def _ropes_of_all_layers(reading: Reading) -> list[Mapping[str, Any]]:
    if not reading.nested:
        return [reading.rope]
    layers = next(reading.text[name] for name in ROPE_DICTS if reading.text.get(name))
    return [rope for rope in layers.values() if isinstance(rope, Mapping)]


def _type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _is_factor(value: Any) -> bool:
    return is_number(value) and value > 0
