"""transformers 5.23.0: frequencies computed on every forward pass, from the sequence so far."""

from dataclasses import replace

from ropewalk.core.lengths import WholeSequence
from ropewalk.engines.answer import TRANSFORMERS, EngineAnswer
from ropewalk.engines.magnitudes import latent_multiplier
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.transformers.rules import hf_rotation, served_length

VERSION = "5.23.0"


def transformers_5_23(reading: Reading) -> EngineAnswer:
    """What transformers computes in one call over ``served_length`` tokens (default M)."""
    answer = EngineAnswer(
        engine=TRANSFORMERS,
        version=VERSION,
        table_dtype="float32, cast to the activations' dtype",
        choice="no table",
        pairing=reading.section.pairing,
    )
    try:
        rotation = hf_rotation(reading)
    except EngineRaises as raised:
        return replace(answer, error=str(raised))
    policy = WholeSequence(trained_length=rotation.frequencies.geometry.trained_length)
    return replace(
        answer.rotating(rotation, policy, served_length(reading)),
        softmax_scale_multiplier=_softmax_multiplier(reading),
        max_length=reading.longest,
    )


def _softmax_multiplier(reading: Reading) -> float:
    """m(s, mscale_all_dim)^2 where the type is not default (V2 and Mistral 4: since PR 47435)."""
    if not reading.section.latent_attention or reading.written_type == "default":
        return 1.0
    return latent_multiplier(reading)
