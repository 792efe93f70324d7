"""vLLM 0.33.0: static tables, built when the model is loaded."""

from dataclasses import replace

from ropewalk.core.lengths import Fixed, LengthPolicy, WholeSequence
from ropewalk.engines.answer import VLLM, EngineAnswer
from ropewalk.engines.magnitudes import latent_multiplier
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.vllm.lengths import max_model_len, max_position, served_length
from ropewalk.engines.vllm.rules import through_transformers, vllm_rotation, vllm_type

VERSION = "0.33.0"


def vllm_0_33(reading: Reading) -> EngineAnswer:
    """What vLLM computes with ``--max-model-len served_length`` (default: what it derives)."""
    answer = EngineAnswer(
        engine=VLLM,
        version=VERSION,
        table_dtype="the model's dtype",
        choice="one table for every length",
        pairing=reading.section.pairing,
    )
    try:
        name = vllm_type(reading)
        answer = replace(answer, max_length=max_model_len(reading))
        rotation = vllm_rotation(reading, name)
    except EngineRaises as raised:
        # A table that is no rotation is built all the same.
        built = str(raised).startswith("not a rotation")
        return replace(
            answer, error=str(raised), table_rows=max_position(reading) if built else None
        )
    length = served_length(reading)
    policy: LengthPolicy = Fixed(length=length)
    if through_transformers(reading):
        policy = WholeSequence(trained_length=rotation.frequencies.geometry.trained_length)
    return replace(
        answer.rotating(rotation, policy, length),
        softmax_scale_multiplier=_softmax_multiplier(reading, name),
    )


def _softmax_multiplier(reading: Reading, name: str) -> float:
    """MLA: m(factor, mscale_all_dim)^2, unless attention_factor is exactly 1.0.

    Source: vLLM 0.33.0 models/deepseek_v2.py; pull request 41569 for the rule that prefill and
        decode take one scale and that configs with compress_ratios take no mscale.
    """
    unscaled = not reading.section.latent_attention or name == "default"
    if unscaled or reading.number("attention_factor") == 1.0:
        return 1.0
    return latent_multiplier(reading)
