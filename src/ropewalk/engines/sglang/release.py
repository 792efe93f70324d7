"""SGLang 0.5.23: tables built at load that grow on demand.

Source: SGLang 0.5.23, srt/configs/model_config.py, srt/utils/hf_transformers/common.py.
"""

from dataclasses import replace

from ropewalk.core.lengths import WholeSequence
from ropewalk.engines.answer import SGLANG, EngineAnswer
from ropewalk.engines.magnitudes import latent_multiplier
from ropewalk.engines.reading import EngineRaises, Reading, length
from ropewalk.engines.sglang.rules import sglang_rotation
from ropewalk.engines.transformers.config_class import loaded_type

VERSION = "0.5.23"
WITHOUT_MODEL = frozenset({"nomic_bert", "gpt_neox"})
"""Model types for which srt/models has no class; a few of those that could be asked about."""
LENGTH_KEYS = (
    *("max_sequence_length", "seq_length", "max_seq_len", "model_max_length"),
    "max_position_embeddings",
)
_LENGTH_WITHOUT_KEYS = 2048
_ONE_TABLE = "one table for every length"


def sglang_0_5_23(reading: Reading) -> EngineAnswer:
    """What SGLang computes for a batch whose longest sequence has ``served_length`` tokens
    (default: the context length that it derives)."""
    answer = EngineAnswer(
        engine=SGLANG,
        version=VERSION,
        table_dtype="float32 on CUDA",
        choice="one table, grown on demand",
        pairing=reading.section.pairing,
    )
    if reading.model_type in WITHOUT_MODEL:
        note = f"no native {reading.model_type} model in sglang.srt.models {VERSION}"
        return replace(answer, softmax_scale_multiplier=1.0, notes=(note,))
    try:
        name = loaded_type(reading)
        answer = replace(
            answer,
            max_length=context_length(reading),
            softmax_scale_multiplier=_softmax_multiplier(reading, name),
        )
        rotation = sglang_rotation(reading, name)
    except EngineRaises as raised:
        return replace(answer, error=str(raised))
    served = reading.served_length or context_length(reading)
    policy = WholeSequence(trained_length=rotation.frequencies.geometry.trained_length)
    return replace(answer, choice=_ONE_TABLE).rotating(rotation, policy, served)


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


def _softmax_multiplier(reading: Reading, name: str) -> float:
    """MLA: m(factor, mscale_all_dim)^2, unless apply_yarn_scaling or apply_scale is false.

    Source: SGLang 0.5.23 compute_mla_mscale_scaling (pull request 26203).
    """
    flags = ("apply_yarn_scaling", "apply_scale")
    switched_off = any(key in reading.rope and not reading.rope[key] for key in flags)
    if not reading.section.latent_attention or name == "default" or switched_off:
        return 1.0
    return latent_multiplier(reading)
