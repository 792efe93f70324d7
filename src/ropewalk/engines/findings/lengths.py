"""Findings about lengths: what is admitted, and what the tables hold."""

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import ENGINE_NAMES, LLAMA_CPP, SGLANG, VLLM
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting

_ESCAPES = {
    VLLM: "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1",
    SGLANG: "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1",
}
WITH_ORIGINAL = ("yarn", "longrope", "llama3")
"""Types that refer to original_max_position_embeddings."""
_GROWS_UNSCALED = ("linear", "dynamic")


def _short_table(evidence: Evidence) -> Sighting | None:
    answer, rows = evidence.answers[VLLM], evidence.rows(VLLM)
    if rows is None or answer.max_length is None or answer.error is not None:
        return None
    admitted = evidence.reading.served_length or answer.max_length
    if admitted <= rows:
        return None
    how = "admitted" if admitted <= answer.max_length else f"asked for (with {_ESCAPES[VLLM]})"
    return Sighting(
        engines=(VLLM,),
        message=f"{admitted:,} tokens are {how} and the table has {rows:,} rows: positions beyond "
        "read what lies behind it",
        remedy=f"--max-model-len {rows}",
    )


def _refused(evidence: Evidence) -> Sighting | None:
    served = evidence.reading.served_length
    if served is None:
        return None
    capped = {name: evidence.answers[name].max_length for name in (VLLM, SGLANG, LLAMA_CPP)}
    if evidence.rope_type == "longrope":
        capped[VLLM] = evidence.reading.longest
    engines = tuple(name for name, most in capped.items() if most is not None and served > most)
    if not engines:
        return None
    most = ", ".join(f"{name} {capped[name]:,}" for name in engines)
    refused = any(name in _ESCAPES for name in engines)
    starts = "vLLM and SGLang refuse to start" if refused else "llama.cpp's server caps its slots"
    return Sighting(
        engines=engines,
        message=f"{served:,} tokens are more than what is admitted ({most}); {starts}",
        remedy=_room_for(evidence, served, engines),
    )


def _room_for(evidence: Evidence, served: int, engines: tuple[str, ...]) -> str:
    reading = evidence.reading
    if evidence.rope_type in WITH_ORIGINAL:
        room = (
            f'override "max_position_embeddings": {max(served, reading.longest)} beside the rope '
            f'dict, with "{ORIGINAL}": {reading.original} inside it'
        )
    elif evidence.rope_type == "default":
        room = "scale the rotation (yarn), for the model was trained for no more"
    else:
        room = f"raise factor to at least {served / reading.longest:.6g}"
    switches = [f"{name} {_ESCAPES[name]}" for name in engines if name in _ESCAPES]
    return f"{room}; to serve as it is: {', '.join(switches)}" if switches else room


def _not_extended(evidence: Evidence) -> Sighting | None:
    factor, reading = evidence.number("factor"), evidence.reading
    if evidence.rope_type != "yarn" or factor is None:
        return None
    scaled = int(factor * reading.original)
    engines = evidence.running(VLLM, SGLANG, LLAMA_CPP)
    if scaled <= reading.longest or not engines:
        return None
    return Sighting(
        engines=engines,
        message=f"YaRN reaches {scaled:,} tokens, and max_position_embeddings still says "
        f"{reading.longest:,}: factor does not enlarge it (vLLM since pull request 56446)",
        remedy=f'write "max_position_embeddings": {scaled} and "{ORIGINAL}": {reading.original}',
    )


def _multiplied(evidence: Evidence) -> Sighting | None:
    factor, longest = evidence.number("factor"), evidence.reading.longest
    if factor is None or factor == 1:
        return None
    engines = tuple(
        name
        for name in (VLLM, SGLANG)
        if evidence.answers[name].max_length == int(longest * factor)
    )
    if not engines:
        return None
    return Sighting(
        engines=engines,
        message=f"max_position_embeddings {longest:,} is taken for the length before scaling and "
        f"multiplied by factor: {int(longest * factor):,} tokens are admitted; transformers and "
        "llama.cpp take it for the final length",
        remedy="write the trained length as max_position_embeddings, or cap the served length",
    )


def _different(evidence: Evidence) -> Sighting | None:
    found = {
        name: answer.max_length
        for name, answer in evidence.answers.items()
        if answer.max_length is not None
    }
    if len(set(found.values())) < 2:
        return None
    listed = ", ".join(f"{name} {most:,}" for name, most in found.items())
    return Sighting(
        engines=tuple(found),
        message=f"admitted by default: {listed}",
    )


def _grows(evidence: Evidence) -> Sighting | None:
    rows, served = evidence.rows(SGLANG), evidence.reading.served_length
    if rows is None or served is None or served <= rows or evidence.reading.latent:
        return None
    if evidence.rope_type not in _GROWS_UNSCALED:
        return None
    return Sighting(
        engines=(SGLANG,),
        message=f"beyond {rows:,} rows the table grows by rows of unscaled rope_theta",
        remedy=f"serve at most {rows:,} tokens",
    )


def _no_original(evidence: Evidence) -> Sighting | None:
    reading = evidence.reading
    needs = evidence.rope_type in WITH_ORIGINAL
    beside = None if reading.nested else reading.text.get(ORIGINAL)
    if not needs or evidence.has(ORIGINAL) or beside is not None:
        return None
    return Sighting(
        engines=evidence.running(*ENGINE_NAMES),
        message=f"{ORIGINAL} is not stated and taken to be max_position_embeddings, "
        f"{reading.longest:,}: if that is the extended length, the ramp is computed for another "
        "trained length",
    )


def _beside(evidence: Evidence) -> Sighting | None:
    reading = evidence.reading
    beside, inside = reading.text.get(ORIGINAL), reading.rope.get(ORIGINAL)
    if beside is None or evidence.rope_type not in WITH_ORIGINAL:
        return None
    if reading.nested:
        return Sighting(
            engines=evidence.running(*ENGINE_NAMES),
            message=f"{ORIGINAL} {beside} beside dicts for the layer types is not read",
            remedy="write it inside each dict",
        )
    if inside is None:
        return Sighting(
            engines=evidence.running(*ENGINE_NAMES),
            message=f"{ORIGINAL} {beside} stands beside the rope dict; transformers moves it "
            "inside for yarn, longrope and llama3",
            severity=Severity.INFO,
        )
    if beside == inside:
        return None
    return Sighting(
        engines=evidence.running(*ENGINE_NAMES),
        message=f"{ORIGINAL} {beside} beside the rope dict overrides {inside} inside it",
    )


def _fixed(evidence: Evidence) -> Sighting | None:
    most, longest = evidence.answers[LLAMA_CPP].max_length, evidence.reading.longest
    if most is None or most == longest:
        return None
    return Sighting(
        engines=(LLAMA_CPP,),
        message=f"the converter writes a context of {most:,} tokens for Hunyuan, whatever the "
        f"config states ({longest:,})",
        remedy=f"-c {longest}",
    )


KINDS = (
    Kind(
        id="short-table",
        severity=Severity.ERROR,
        meaning="vLLM admits more tokens than its table has rows",
        remedy="--max-model-len, at most the rows of the table",
        look=_short_table,
    ),
    Kind(
        id="length-refused",
        severity=Severity.ERROR,
        meaning="the served length is more than the engine admits",
        remedy="override max_position_embeddings too",
        look=_refused,
    ),
    Kind(
        id="growth-unscaled",
        severity=Severity.ERROR,
        meaning="SGLang's linear and dynamic tables grow by unscaled rows",
        remedy="serve at most as many tokens as the table has rows",
        look=_grows,
    ),
    Kind(
        id="length-not-extended",
        severity=Severity.WARNING,
        meaning="YaRN's factor does not enlarge the admitted length",
        remedy="write max_position_embeddings = factor x original_max_position_embeddings",
        look=_not_extended,
    ),
    Kind(
        id="length-multiplied",
        severity=Severity.WARNING,
        meaning="vLLM and SGLang multiply max_position_embeddings by factor for linear, dynamic, "
        "ntk and proportional",
        remedy="write the trained length as max_position_embeddings, or cap the served length",
        look=_multiplied,
    ),
    Kind(
        id="original-length-missing",
        severity=Severity.WARNING,
        meaning="original_max_position_embeddings is not stated and taken to be "
        "max_position_embeddings",
        remedy="write original_max_position_embeddings inside the rope dict",
        look=_no_original,
    ),
    Kind(
        id="original-length-beside",
        severity=Severity.WARNING,
        meaning="original_max_position_embeddings beside the rope dict overrides the one inside a "
        "flat dict, and is not read beside dicts for layer types",
        remedy="write it inside the rope dict alone",
        look=_beside,
    ),
    Kind(
        id="length-differs",
        severity=Severity.INFO,
        meaning="engines admit different lengths by default",
        remedy="state the served length: --max-model-len, --context-length, -c",
        look=_different,
    ),
    Kind(
        id="converter-length",
        severity=Severity.INFO,
        meaning="llama.cpp's converter writes a fixed context length for Hunyuan",
        remedy="-c",
        look=_fixed,
    ),
)
