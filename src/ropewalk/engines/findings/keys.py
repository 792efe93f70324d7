"""Findings about keys: unread, lost, overridden, or read in one place only."""

from collections.abc import Iterator, Mapping

from ropewalk.configs.keys import THETAS
from ropewalk.configs.text import rope_beside_section
from ropewalk.engines.answer import ENGINE_NAMES, LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import (
    Evidence,
    Severity,
    Sighting,
    error,
    info,
    number,
    warning,
)
from ropewalk.engines.reading import Reading
from ropewalk.engines.transformers.rules import OLMO3_THETA

_ELSEWHERE = frozenset({"partial_rotary_factor", "rope_dim"})
_DEFAULTS = {"beta_fast": 32, "beta_slow": 1, "truncate": True}
_HALF = ("bfloat16", "float16")


def theta_is_stated(reading: Reading) -> bool:
    """Whether a config states a base anywhere."""
    inside = reading.rope.get(THETAS[0]) is not None
    return inside or any(reading.text.get(name) is not None for name in THETAS)


def _theta_beside(evidence: Evidence) -> bool:
    """Whether a base is stated outside the rope dict."""
    return any(evidence.reading.text.get(name) is not None for name in THETAS)


@error(
    "rope-theta-lost",
    "rope_scaling replaces rope_parameters whole, rope_theta included",
    "write rope_theta into rope_scaling",
)
def theta_lost(evidence: Evidence) -> Iterator[Sighting]:
    text = evidence.reading.text
    winner, loser = text.get("rope_scaling"), text.get("rope_parameters")
    if not isinstance(winner, Mapping) or not isinstance(loser, Mapping) or not winner:
        return
    lost = loser.get("rope_theta")
    if lost is not None and winner.get("rope_theta") is None and not _theta_beside(evidence):
        yield Sighting(
            (TRANSFORMERS, VLLM, SGLANG),
            f"rope_scaling replaces rope_parameters whole, and with it rope_theta {lost}: "
            f"{number(evidence.reading.section.rope_theta)} is used",
            f'write "rope_theta": {lost} into rope_scaling',
        )


@error(
    "olmo3-sliding-theta",
    "OLMo-3's sliding layers lose a rope_theta other than 500,000",
    "write rope_parameters with a dict, and a rope_theta, for each layer type",
)
def olmo3(evidence: Evidence) -> Iterator[Sighting]:
    reading, theta = evidence.reading, evidence.reading.section.rope_theta
    if reading.model_type == "olmo3" and not reading.nested and theta != OLMO3_THETA:
        yield Sighting(
            evidence.library,
            f"sliding layers lose rope_theta {number(theta)} and get the class's default, "
            f"{number(OLMO3_THETA)}",
        )


@error(
    "proportional-factor",
    "factor of rope_type proportional is read by transformers alone",
    "drop factor, or serve with transformers",
)
def proportional(evidence: Evidence) -> Iterator[Sighting]:
    factor = evidence.number("factor")
    if evidence.rope_type == "proportional" and factor is not None and factor != 1:
        yield Sighting(
            evidence.running(VLLM, SGLANG, LLAMA_CPP),
            f"factor {number(factor)} of rope_type proportional divides the frequencies in "
            "transformers alone",
        )


@warning(
    "dual-chunk",
    "dual chunk attention is run by none of the four releases",
    "rw.extend(model, 'dual_chunk') with transformers",
)
def dual_chunk(evidence: Evidence) -> Iterator[Sighting]:
    if evidence.reading.text.get("dual_chunk_attention_config"):
        yield Sighting(
            ENGINE_NAMES,
            "dual_chunk_attention_config: transformers and llama.cpp do not read it; vLLM and "
            "SGLang read it and have no attention backend that uses it",
        )


@warning(
    "rope-theta-unstated",
    "rope_theta is stated nowhere, so that class defaults decide",
    "write rope_theta",
)
def theta_unstated(evidence: Evidence) -> Iterator[Sighting]:
    if not theta_is_stated(evidence.reading):
        yield Sighting(
            ENGINE_NAMES,
            "rope_theta is stated nowhere: each config class has its own default, here taken to "
            f"be {number(evidence.reading.section.rope_theta)}",
        )


@info(
    "unread-key",
    "keys of the rope dict that change nothing in an engine (a warning where no engine reads one)",
    "drop the keys, or write what the engine reads",
)
def unread(evidence: Evidence) -> Iterator[Sighting]:
    section = evidence.reading.section
    unread = section.unread(_ELSEWHERE)
    stated = [key for key in unread if section.parameters[key] != _DEFAULTS.get(key)]
    missed = {
        name: [key for key in stated if key not in evidence.answers[name].keys_read]
        for name in evidence.running(*ENGINE_NAMES)
    }
    by_none = any(all(key in keys for keys in missed.values()) for key in stated)
    engines = tuple(name for name, keys in missed.items() if keys)
    listed = "; ".join(f"{name}: {', '.join(missed[name])}" for name in engines)
    yield Sighting(
        engines,
        f"keys of the rope dict that change nothing: {listed[:600]}",
        severity=Severity.WARNING if by_none else Severity.INFO,
    )


@info(
    "rope-theta-inside",
    "rope_theta stands inside the rope dict alone, where overrides of the dict lose it",
    "repeat rope_theta in every override of the rope dict",
)
def theta_inside(evidence: Evidence) -> Iterator[Sighting]:
    inside = evidence.reading.rope.get("rope_theta")
    if inside is not None and not _theta_beside(evidence):
        yield Sighting(
            (TRANSFORMERS, VLLM, LLAMA_CPP),
            f"rope_theta {inside} stands inside the rope dict alone: an override that replaces "
            "the dict loses it, and tools that read config.rope_theta take a default of 10,000 "
            "(SGLang merges overrides)",
            f'repeat "rope_theta": {inside} in every override of the rope dict',
        )


@info(
    "transformers-backend",
    "vLLM runs the architecture through transformers",
    "none needed; what is found for transformers holds for vLLM",
)
def backend(evidence: Evidence) -> Iterator[Sighting]:
    if evidence.in_vllms_backend:
        yield Sighting(
            evidence.running(VLLM),
            f"{evidence.reading.architecture} runs through vLLM's Transformers backend: the "
            "library's rotary module, with its bugs, and no table",
        )


@info(
    "text-section",
    "a multimodal config keeps the rope keys of its text model in a section of its own",
    "write overrides inside that section",
)
def text_section(evidence: Evidence) -> Iterator[Sighting]:
    path = evidence.reading.shape.text_section
    if path:
        name = ".".join(path)
        yield Sighting(
            (VLLM, SGLANG),
            f"the rope keys that count stand in {name}: an override at the top changes nothing "
            "there",
            f'write the override inside "{name}"',
        )


@warning(
    "unread-switch",
    "a key that switches rotation or windows, and that the library's class does not read",
    "drop the key, or use a family that reads it",
)
def unread_switch(evidence: Evidence) -> Iterator[Sighting]:
    shape = evidence.reading.shape
    for key in shape.unread:
        yield Sighting(
            evidence.library,
            f"{key} is {shape.text[key]!r:.40}: the class of {shape.model_type} does not read it, "
            "and nothing is switched",
        )


@warning(
    "dict-beside-section",
    "a rope dict outside the section of the text model, which llama.cpp's converter alone may read",
    "move it into the section",
)
def dict_beside_section(evidence: Evidence) -> Iterator[Sighting]:
    shape = evidence.reading.shape
    if rope_beside_section(shape.config):
        section = ".".join(shape.text_section)
        read = "no engine reads it"
        if not shape.completed:
            read = "llama.cpp's converter alone reads it, where the class of the whole config fails"
        yield Sighting(
            ENGINE_NAMES if shape.completed else (TRANSFORMERS, VLLM, SGLANG),
            f"a rope dict stands outside {section}, where the text model is: {read}",
            f"move it into {section}",
        )


@info(
    "query-temperature",
    "llama_4_scaling_beta is read by some model classes alone",
    "check the class; the key does nothing in others",
)
def temperature(evidence: Evidence) -> Iterator[Sighting]:
    if beta := evidence.number("llama_4_scaling_beta"):
        yield Sighting(
            (TRANSFORMERS,),
            f"llama_4_scaling_beta {number(beta)} multiplies queries by 1 + beta ln(1 + "
            "floor(position / L)) in the classes llama4, ministral3 and mistral4 alone; it is in "
            "none of the numbers here",
        )


@info(
    "table-dtype",
    "engines keep cos and sin in different dtypes",
    "none; a source of small differences",
)
def table_dtype(evidence: Evidence) -> Iterator[Sighting]:
    text = evidence.reading.text
    dtype = str(text.get("dtype") or text.get("torch_dtype") or "")
    if dtype in _HALF and evidence.rows(VLLM) is not None:
        yield Sighting(
            (VLLM,),
            f"vLLM keeps cos and sin in the model's {dtype}, SGLang in float32 on CUDA; "
            "transformers computes them in float32 and rounds to the activations' dtype",
        )


KINDS = (
    *(theta_lost, olmo3, proportional, dual_chunk, theta_unstated, unread),
    *(theta_inside, backend, text_section, unread_switch, dict_beside_section, temperature),
    table_dtype,
)
