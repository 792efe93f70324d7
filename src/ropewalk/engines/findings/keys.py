"""Findings about keys: unread, lost, overridden, or read in one place only."""

from collections.abc import Mapping

from ropewalk.configs.keys import THETAS
from ropewalk.engines.answer import ENGINE_NAMES, LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting, number
from ropewalk.engines.transformers.rules import OLMO3_THETA
from ropewalk.engines.vllm.rules import through_transformers

_ELSEWHERE = frozenset({"partial_rotary_factor", "rope_dim"})
_DEFAULTS = {"beta_fast": 32, "beta_slow": 1, "truncate": True}
_HALF = ("bfloat16", "float16")


def _unread(evidence: Evidence) -> Sighting | None:
    section = evidence.reading.section
    unread = section.unread(_ELSEWHERE)
    stated = [key for key in unread if section.parameters[key] != _DEFAULTS.get(key)]
    answered = evidence.running(*ENGINE_NAMES)
    missed = {
        name: [key for key in stated if key not in evidence.answers[name].keys_read]
        for name in answered
    }
    engines = tuple(name for name, keys in missed.items() if keys)
    if not engines:
        return None
    by_none = [key for key in stated if all(key in keys for keys in missed.values())]
    listed = "; ".join(f"{name}: {', '.join(missed[name])}" for name in engines)
    return Sighting(
        engines=engines,
        message=f"keys of the rope dict that change nothing: {listed[:600]}",
        severity=Severity.WARNING if by_none else Severity.INFO,
    )


def _theta_lost(evidence: Evidence) -> Sighting | None:
    text = evidence.reading.text
    winner, loser = text.get("rope_scaling"), text.get("rope_parameters")
    if not isinstance(winner, Mapping) or not isinstance(loser, Mapping) or not winner:
        return None
    lost = loser.get("rope_theta")
    stated = [winner.get("rope_theta"), *(text.get(name) for name in THETAS)]
    if lost is None or any(value is not None for value in stated):
        return None
    return Sighting(
        engines=(TRANSFORMERS, VLLM, SGLANG),
        message=f"rope_scaling replaces rope_parameters whole, and with it rope_theta {lost}: "
        f"{number(evidence.reading.section.rope_theta)} is used",
        remedy=f'write "rope_theta": {lost} into rope_scaling',
    )


def _theta_inside(evidence: Evidence) -> Sighting | None:
    inside = evidence.reading.rope.get("rope_theta")
    beside = any(evidence.reading.text.get(name) is not None for name in THETAS)
    if inside is None or beside:
        return None
    return Sighting(
        engines=(TRANSFORMERS, VLLM, LLAMA_CPP),
        message=f"rope_theta {inside} stands inside the rope dict alone: an override that replaces "
        "the dict loses it, and tools that read config.rope_theta take a default of 10,000 "
        "(SGLang merges overrides)",
        remedy=f'repeat "rope_theta": {inside} in every override of the rope dict',
    )


def _theta_unstated(evidence: Evidence) -> Sighting | None:
    inside = evidence.reading.rope.get("rope_theta")
    if inside is not None or any(evidence.reading.text.get(n) is not None for n in THETAS):
        return None
    return Sighting(
        engines=ENGINE_NAMES,
        message="rope_theta is stated nowhere: each config class has its own default, here taken "
        f"to be {number(evidence.reading.section.rope_theta)}",
    )


def _proportional(evidence: Evidence) -> Sighting | None:
    factor = evidence.number("factor")
    if evidence.rope_type != "proportional" or factor is None or factor == 1:
        return None
    return Sighting(
        engines=evidence.running(VLLM, SGLANG, LLAMA_CPP),
        message=f"factor {number(factor)} of rope_type proportional divides the frequencies in "
        "transformers alone",
    )


def _olmo3(evidence: Evidence) -> Sighting | None:
    reading = evidence.reading
    own = reading.model_type == "olmo3" and not reading.nested
    if not own or reading.section.rope_theta == OLMO3_THETA:
        return None
    engines = (TRANSFORMERS, VLLM) if through_transformers(reading) else (TRANSFORMERS,)
    return Sighting(
        engines=engines,
        message=f"sliding layers lose rope_theta {number(reading.section.rope_theta)} and get the "
        f"class's default, {number(OLMO3_THETA)}",
        remedy="write rope_parameters with a dict, and a rope_theta, for each layer type",
    )


def _backend(evidence: Evidence) -> Sighting | None:
    if not through_transformers(evidence.reading) or not evidence.running(VLLM):
        return None
    return Sighting(
        engines=(VLLM,),
        message=f"{evidence.reading.architecture} runs through vLLM's Transformers backend: the "
        "library's rotary module, with its bugs, and no table",
    )


def _temperature(evidence: Evidence) -> Sighting | None:
    beta = evidence.number("llama_4_scaling_beta")
    if not beta:
        return None
    return Sighting(
        engines=(TRANSFORMERS,),
        message=f"llama_4_scaling_beta {number(beta)} multiplies queries by 1 + beta ln(1 + "
        "floor(position / L)) in the classes llama4, ministral3 and mistral4 alone; it is in none "
        "of the numbers here",
    )


def _dual_chunk(evidence: Evidence) -> Sighting | None:
    if not evidence.reading.text.get("dual_chunk_attention_config"):
        return None
    return Sighting(
        engines=ENGINE_NAMES,
        message="dual_chunk_attention_config: transformers and llama.cpp do not read it; vLLM and "
        "SGLang read it and have no attention backend that uses it",
    )


def _text_section(evidence: Evidence) -> Sighting | None:
    name = evidence.reading.shape.text_section
    if name is None:
        return None
    return Sighting(
        engines=(VLLM, SGLANG),
        message=f"the rope keys that count stand in {name}: an override at the top changes nothing "
        "there",
        remedy=f'write the override inside "{name}"',
    )


def _table_dtype(evidence: Evidence) -> Sighting | None:
    text = evidence.reading.text
    dtype = str(text.get("dtype") or text.get("torch_dtype") or "")
    if dtype not in _HALF or evidence.rows(VLLM) is None:
        return None
    return Sighting(
        engines=(VLLM,),
        message=f"vLLM keeps cos and sin in the model's {dtype}, SGLang in float32 on CUDA; "
        "transformers computes them in float32 and rounds to the activations' dtype",
    )


KINDS = (
    Kind(
        id="rope-theta-lost",
        severity=Severity.ERROR,
        meaning="rope_scaling replaces rope_parameters whole, rope_theta included",
        remedy="write rope_theta into rope_scaling",
        look=_theta_lost,
    ),
    Kind(
        id="olmo3-sliding-theta",
        severity=Severity.ERROR,
        meaning="OLMo-3's sliding layers lose a rope_theta other than 500,000",
        remedy="write rope_parameters with a dict, and a rope_theta, for each layer type",
        look=_olmo3,
    ),
    Kind(
        id="proportional-factor",
        severity=Severity.ERROR,
        meaning="factor of rope_type proportional is read by transformers alone",
        remedy="drop factor, or serve with transformers",
        look=_proportional,
    ),
    Kind(
        id="dual-chunk",
        severity=Severity.WARNING,
        meaning="dual chunk attention is run by none of the four releases",
        remedy="rw.extend(model, 'dual_chunk') with transformers",
        look=_dual_chunk,
    ),
    Kind(
        id="rope-theta-unstated",
        severity=Severity.WARNING,
        meaning="rope_theta is stated nowhere, so that class defaults decide",
        remedy="write rope_theta",
        look=_theta_unstated,
    ),
    Kind(
        id="unread-key",
        severity=Severity.INFO,
        meaning="keys of the rope dict that change nothing in an engine (a warning where no "
        "engine reads one)",
        remedy="drop the keys, or write what the engine reads",
        look=_unread,
    ),
    Kind(
        id="rope-theta-inside",
        severity=Severity.INFO,
        meaning="rope_theta stands inside the rope dict alone, where overrides of the dict lose it",
        remedy="repeat rope_theta in every override of the rope dict",
        look=_theta_inside,
    ),
    Kind(
        id="transformers-backend",
        severity=Severity.INFO,
        meaning="vLLM runs the architecture through transformers",
        remedy="none needed; what is found for transformers holds for vLLM",
        look=_backend,
    ),
    Kind(
        id="text-section",
        severity=Severity.INFO,
        meaning="a multimodal config keeps the rope keys of its text model in a section of its own",
        remedy="write overrides inside that section",
        look=_text_section,
    ),
    Kind(
        id="query-temperature",
        severity=Severity.INFO,
        meaning="llama_4_scaling_beta is read by some model classes alone",
        remedy="check the class; the key does nothing in others",
        look=_temperature,
    ),
    Kind(
        id="table-dtype",
        severity=Severity.INFO,
        meaning="engines keep cos and sin in different dtypes",
        remedy="none; a source of small differences",
        look=_table_dtype,
    ),
)
