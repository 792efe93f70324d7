"""Findings about what an engine itself raises, or does not know."""

from collections.abc import Iterator

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import LLAMA_CPP, SGLANG
from ropewalk.engines.findings.finding import Evidence, Sighting, error, raising, warning
from ropewalk.engines.llama_cpp.converter import drops_base, drops_type, takes_half

_UNKNOWN = ("Unknown RoPE scaling type", "type field must be one of", "Legacy rope_type")
_NOT_ITERABLE = "object is not iterable"
_EXPLAINED = (
    *(_NOT_ITERABLE, "ZeroDivisionError", "Missing required keys", "unhashable type"),
    *("unexpected keyword argument", "Found conflicts", "not a rotation", "rotary_pct"),
    "unsupported operand type(s) for *: 'NoneType' and 'float'",
)
_CANNOT_LOAD = ("cannot load: ", "is not supported anymore")
_KNOWN_TO_LLAMA_CPP = frozenset(
    {"default", "linear", "yarn", "longrope", "su", "llama3", "dynamic", "mrope"}
)
_FLAGS = "serve with the flags of ropewalk export --engine llama.cpp"
_WRITTEN = frozenset({"linear", "yarn", "llama3"})

not_a_rotation = error(
    "not-a-rotation",
    "vLLM's dynamic base is complex where the served length is far below max_trained_positions "
    "(pull request 41277; issue 52665)",
    "serve at least max_trained_positions tokens, or drop the dynamic scaling",
)(
    raising(
        "not a rotation",
        "a * P / T - (a - 1) is negative for the served P below the trained T, its power is "
        "complex, and what is served is noise",
    )
)


@error(
    "integer-linear-factor",
    "an integer factor of rope_type linear is taken for a list of factors",
    'write the factor as a float: "factor": 4.0',
)
def integer_factor(evidence: Evidence) -> Iterator[Sighting]:
    look = raising(_NOT_ITERABLE, "a linear factor that is not a float is taken for a list")
    factor = evidence.number("factor")
    remedy = None if factor is None else f'write the factor as a float: "factor": {factor:.1f}'
    for seen in look(evidence):
        yield seen._replace(remedy=remedy)


zero_beta = error(
    "zero-beta",
    "beta_fast or beta_slow 0: transformers takes it as absent, vLLM and SGLang divide by it",
    'drop the key, or write "beta_fast": 32 and "beta_slow": 1',
)(raising("ZeroDivisionError", "a beta of 0 means absent in transformers and is divided by here"))


@error(
    "missing-key",
    "transformers' config class, through which vLLM and SGLang load too, raises for a key that "
    "the rope dict lacks",
    "add the key inside the rope dict",
)
def missing_key(evidence: Evidence) -> Iterator[Sighting]:
    look = raising("Missing required keys", "the config class wants keys that the rope dict lacks")
    beside = evidence.reading.text.get(ORIGINAL)
    for seen in look(evidence):
        if ORIGINAL not in seen.message or beside is None:
            yield seen
        else:
            yield Sighting(
                seen.engines,
                f"{seen.message}; the one beside the dict is moved into it for rope_type yarn, "
                f"longrope and llama3 alone, not for {evidence.reading.written_type!r}",
                f'write "rope_type": "{evidence.rope_type}" and "{ORIGINAL}": {beside} inside the '
                "rope dict",
            )


def _not_known(evidence: Evidence) -> dict[str, str]:
    """Errors of engines that do not know the type."""
    name = evidence.reading.written_type
    unknown = evidence.raising("KeyError: ", *_UNKNOWN)
    return {
        engine: message
        for engine, message in unknown.items()
        if message == f"KeyError: {name!r}" or any(pattern in message for pattern in _UNKNOWN)
    }


@error(
    "unknown-type",
    "an engine does not know the rope_type",
    "use a type that all engines know: linear, yarn, longrope, llama3; for a larger base write "
    "rope_theta",
)
def unknown_type(evidence: Evidence) -> Iterator[Sighting]:
    if errors := _not_known(evidence):
        quoted = next(iter(errors.values()))
        name = evidence.reading.written_type
        yield Sighting((*errors,), f"rope_type {name!r} is not known there ({quoted})")


@error(
    "type-dropped",
    "llama.cpp's converter writes type none for a rope_type that it does not know, or that the "
    "class for the model does not write",
    "bake the scaling into rope_theta before conversion, or use linear or yarn",
)
def dropped_type(evidence: Evidence) -> Iterator[Sighting]:
    name, kind = evidence.reading.written_type, evidence.reading.model_type
    gemma = name == "proportional" and kind.startswith("gemma4")
    running = evidence.running(LLAMA_CPP)
    if name not in _KNOWN_TO_LLAMA_CPP and not gemma:
        yield Sighting(
            running,
            f"the converter does not know rope_type {name!r}, warns and writes type none: "
            "nothing is scaled",
        )
    elif name in _WRITTEN and drops_type(evidence.reading):
        said = f"the converter's class for {kind} writes no {name!r} and says nothing: "
        linear = kind == "nemotron" and evidence.reading.number("factor") is not None
        said += "its factor counts as linear" if linear else "nothing is scaled"
        yield Sighting(running, said, None if name == "llama3" else _FLAGS)


@error(
    "base-dropped",
    "llama.cpp's converter writes no base for the model, and its graph has 10,000",
    "serve with --rope-freq-base",
)
def dropped_base(evidence: Evidence) -> Iterator[Sighting]:
    reading = evidence.reading
    if drops_base(reading):
        base = f"{reading.section.rope_theta:,.0f}"
        yield Sighting(
            evidence.running(LLAMA_CPP),
            f"rope_theta {base} is not in a file of {reading.model_type}",
        )


@error(
    "share-unstated",
    "llama.cpp's converter turns half of each head where the config states no share",
    "write partial_rotary_factor",
)
def unstated_share(evidence: Evidence) -> Iterator[Sighting]:
    if takes_half(evidence.reading):
        yield Sighting(
            evidence.running(LLAMA_CPP),
            f"without partial_rotary_factor a file of {evidence.reading.model_type} turns half",
        )


null_head_dim = error(
    "null-head-dim",
    "head_dim null with dynamic, yarn or longrope raises in the config classes that do not fill "
    "it in (Qwen2; not Llama)",
    "drop the key, or write hidden_size / num_attention_heads",
)(
    raising(
        "unsupported operand type(s) for *: 'NoneType' and 'float'",
        "head_dim is null and this config class does not fill it in",
    )
)
nested_dict = error(
    "nested-dict-unhashable",
    "SGLang uses OLMo-3's dict of layer types as a key, which raises",
    "serve the model with another engine",
)(raising("unhashable type", "the rope dict holds one dict for each layer type"))
mrope_mscale = error(
    "mrope-mscale",
    "SGLang's YaRN class for mrope takes no mscale",
    "drop mscale and mscale_all_dim; write the ratio of their magnitudes over m(s) as attn_factor",
)(raising("unexpected keyword argument", "mrope_section with mscale"))
type_conflict = error(
    "type-conflict",
    "rope_type and type differ: vLLM raises, the others take rope_type",
    "drop type",
)(raising("Found conflicts", "rope_type and type differ"))
conversion_fails = error(
    "conversion-fails",
    "llama.cpp's converter wants rotary_pct, which transformers 5 takes out of every config of "
    "GPT-NeoX, and which Cohere 2 may lack",
    "GPT-NeoX: convert with transformers 4; Cohere 2: write rotary_pct",
)(
    raising(
        "rotary_pct",
        "the converter reads rotary_pct in the config as transformers 5 has it, without that key",
    )
)


@error(
    "cannot-load",
    "a release has no file for the model",
    "serve it with an engine that has a file for it",
)
def cannot_load(evidence: Evidence) -> Iterator[Sighting]:
    for engine, said in evidence.raising(*_CANNOT_LOAD).items():
        yield Sighting((engine,), said)


@error(
    "engine-raises",
    "an engine raises on the config for another reason",
    "correct the key that the error names",
)
def other(evidence: Evidence) -> Iterator[Sighting]:
    explained = {*evidence.raising(*_EXPLAINED, *_CANNOT_LOAD), *_not_known(evidence)}
    rest = {
        name: answer.error
        for name, answer in evidence.answers.items()
        if answer.error is not None and name not in explained
    }
    quoted = "; ".join(f"{name}: {message}" for name, message in rest.items())
    yield Sighting((*rest,), f"raises on this config: {quoted}")


@warning(
    "no-native-model",
    "SGLang has no class for the model type",
    "serve the model with another engine",
)
def no_model(evidence: Evidence) -> Iterator[Sighting]:
    answer = evidence.answers[SGLANG]
    if answer.encoding is None and answer.error is None:
        yield Sighting((SGLANG,), answer.notes[0])


KINDS = (
    *(not_a_rotation, integer_factor, zero_beta, missing_key, unknown_type, dropped_type),
    *(dropped_base, unstated_share),
    *(
        null_head_dim,
        nested_dict,
        mrope_mscale,
        type_conflict,
        conversion_fails,
        cannot_load,
        other,
        no_model,
    ),
)
