"""Findings about what an engine itself raises, or does not know."""

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import LLAMA_CPP, SGLANG
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting, raising

_NOT_ITERABLE = "object is not iterable"
_ZERO = "ZeroDivisionError"
_MISSING = "Missing required keys"
_UNHASHABLE = "unhashable type"
_KEYWORD = "unexpected keyword argument"
_CONFLICT = "Found conflicts"
_COMPLEX = "not a rotation"
_NULL_HEAD = "unsupported operand type(s) for *: 'NoneType' and 'float'"
_UNKNOWN = ("Unknown RoPE scaling type", "type field must be one of", "Legacy rope_type")
_EXPLAINED = (_NOT_ITERABLE, _ZERO, _MISSING, _UNHASHABLE, _KEYWORD, _CONFLICT, _COMPLEX)
_KNOWN_TO_LLAMA_CPP = frozenset(
    {"default", "linear", "yarn", "longrope", "su", "llama3", "dynamic", "mrope"}
)


def _integer_factor(evidence: Evidence) -> Sighting | None:
    seen = raising(_NOT_ITERABLE, "a linear factor that is not a float is taken for a list")(
        evidence
    )
    factor = evidence.number("factor")
    if seen is None or factor is None:
        return seen
    remedy = f'write the factor as a float: "factor": {factor:.1f}'
    return Sighting(engines=seen.engines, message=seen.message, remedy=remedy)


def _missing_key(evidence: Evidence) -> Sighting | None:
    seen = raising(_MISSING, "the config class wants keys that the rope dict lacks")(evidence)
    beside = evidence.reading.text.get(ORIGINAL)
    if seen is None or ORIGINAL not in seen.message or beside is None:
        return seen
    return Sighting(
        engines=seen.engines,
        message=f"{seen.message}; the one beside the dict is moved into it for rope_type yarn, "
        f"longrope and llama3 alone, not for {evidence.reading.written_type!r}",
        remedy=f'write "rope_type": "{evidence.rope_type}" and "{ORIGINAL}": {beside} inside the '
        "rope dict",
    )


def _unknown_type(evidence: Evidence) -> Sighting | None:
    name = evidence.reading.written_type
    errors = {engine: answer.error or "" for engine, answer in evidence.answers.items()}
    engines = tuple(
        engine
        for engine, error in errors.items()
        if error == f"KeyError: {name!r}" or any(pattern in error for pattern in _UNKNOWN)
    )
    if not engines:
        return None
    return Sighting(
        engines=engines,
        message=f"rope_type {name!r} is not known there ({errors[engines[0]]})",
    )


def _dropped_type(evidence: Evidence) -> Sighting | None:
    name = evidence.reading.written_type
    gemma = name == "proportional" and evidence.reading.model_type.startswith("gemma4")
    if name in _KNOWN_TO_LLAMA_CPP or gemma or not evidence.running(LLAMA_CPP):
        return None
    return Sighting(
        engines=(LLAMA_CPP,),
        message=f"the converter does not know rope_type {name!r}, warns and writes type none: "
        "nothing is scaled",
    )


def _null_head_dim(evidence: Evidence) -> Sighting | None:
    return raising(_NULL_HEAD, "head_dim is null and this config class does not fill it in")(
        evidence
    )


def _no_model(evidence: Evidence) -> Sighting | None:
    answer = evidence.answers[SGLANG]
    if answer.inv_freq is not None or answer.error is not None:
        return None
    return Sighting(engines=(SGLANG,), message=answer.notes[0])


def _other(evidence: Evidence) -> Sighting | None:
    """Whatever is raised and no other kind explains."""
    explained = (*_EXPLAINED, _NULL_HEAD, "rotary_pct")
    unknown = _unknown_type(evidence)
    rest = {
        name: answer.error
        for name, answer in evidence.answers.items()
        if answer.error is not None
        and not any(pattern in answer.error for pattern in explained)
        and (unknown is None or name not in unknown.engines)
    }
    if not rest:
        return None
    quoted = "; ".join(f"{name}: {error}" for name, error in rest.items())
    return Sighting(engines=tuple(rest), message=f"raises on this config: {quoted}")


KINDS = (
    Kind(
        id="not-a-rotation",
        severity=Severity.ERROR,
        meaning="vLLM's dynamic base is complex where the served length is far below "
        "max_trained_positions (pull request 41277; issue 52665)",
        remedy="serve at least max_trained_positions tokens, or drop the dynamic scaling",
        look=raising(
            _COMPLEX,
            "a * P / T - (a - 1) is negative for the served P below the trained T, its power is "
            "complex, and what is served is noise",
        ),
    ),
    Kind(
        id="integer-linear-factor",
        severity=Severity.ERROR,
        meaning="an integer factor of rope_type linear is taken for a list of factors",
        remedy='write the factor as a float: "factor": 4.0',
        look=_integer_factor,
    ),
    Kind(
        id="zero-beta",
        severity=Severity.ERROR,
        meaning="beta_fast or beta_slow 0: transformers takes it as absent, vLLM and SGLang "
        "divide by it",
        remedy='drop the key, or write "beta_fast": 32 and "beta_slow": 1',
        look=raising(_ZERO, "a beta of 0 means absent in transformers and is divided by here"),
    ),
    Kind(
        id="missing-key",
        severity=Severity.ERROR,
        meaning="transformers' config class, through which vLLM and SGLang load too, raises for "
        "a key that the rope dict lacks",
        remedy="add the key inside the rope dict",
        look=_missing_key,
    ),
    Kind(
        id="unknown-type",
        severity=Severity.ERROR,
        meaning="an engine does not know the rope_type",
        remedy="use a type that all engines know: linear, yarn, longrope, llama3; for a larger "
        "base write rope_theta",
        look=_unknown_type,
    ),
    Kind(
        id="type-dropped",
        severity=Severity.ERROR,
        meaning="llama.cpp's converter writes type none for a rope_type that it does not know",
        remedy="bake the scaling into rope_theta before conversion, or use linear or yarn",
        look=_dropped_type,
    ),
    Kind(
        id="null-head-dim",
        severity=Severity.ERROR,
        meaning="head_dim null with dynamic, yarn or longrope raises in the config classes that "
        "do not fill it in (Qwen2; not Llama)",
        remedy="drop the key, or write hidden_size / num_attention_heads",
        look=_null_head_dim,
    ),
    Kind(
        id="nested-dict-unhashable",
        severity=Severity.ERROR,
        meaning="SGLang uses OLMo-3's dict of layer types as a key, which raises",
        remedy="serve the model with another engine",
        look=raising(_UNHASHABLE, "the rope dict holds one dict for each layer type"),
    ),
    Kind(
        id="mrope-mscale",
        severity=Severity.ERROR,
        meaning="SGLang's YaRN class for mrope takes no mscale",
        remedy="drop mscale and mscale_all_dim; write the ratio of their magnitudes over m(s) as "
        "attn_factor",
        look=raising(_KEYWORD, "mrope_section with mscale"),
    ),
    Kind(
        id="type-conflict",
        severity=Severity.ERROR,
        meaning="rope_type and type differ: vLLM raises, the others take rope_type",
        remedy="drop type",
        look=raising(_CONFLICT, "rope_type and type differ"),
    ),
    Kind(
        id="conversion-fails",
        severity=Severity.ERROR,
        meaning="llama.cpp's converter wants rotary_pct for GPT-NeoX, which v5 configs lack",
        remedy='write "rotary_pct" beside the rope dict before conversion',
        look=raising("rotary_pct", "the converter reads rotary_pct, the v4 name"),
    ),
    Kind(
        id="engine-raises",
        severity=Severity.ERROR,
        meaning="an engine raises on the config for another reason",
        remedy="correct the key that the error names",
        look=_other,
    ),
    Kind(
        id="no-native-model",
        severity=Severity.WARNING,
        meaning="SGLang has no class for the model type",
        remedy="serve the model with another engine",
        look=_no_model,
    ),
)
