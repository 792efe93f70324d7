"""Findings about lengths: what is admitted, and what the tables hold."""

from collections.abc import Iterator

from ropewalk.configs.keys import ORIGINAL
from ropewalk.configs.rope import TYPES_FROM_ORIGINAL
from ropewalk.engines.answer import ENGINE_NAMES, LLAMA_CPP, SGLANG, VLLM
from ropewalk.engines.findings.finding import Evidence, Severity, Sighting, error, info, warning

_ESCAPES = {
    VLLM: "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1",
    SGLANG: "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1",
}
_GROWS_UNSCALED = ("linear", "dynamic")


@error(
    "short-table",
    "vLLM admits more tokens than its table has rows",
    "--max-model-len, at most the rows of the table",
)
def short_table(evidence: Evidence) -> Iterator[Sighting]:
    answer, rows = evidence.answers[VLLM], evidence.rows(VLLM)
    if rows is None or answer.max_length is None or answer.error is not None:
        return
    admitted = evidence.reading.served_length or answer.max_length
    if admitted > rows:
        how = "admitted" if admitted <= answer.max_length else f"asked for (with {_ESCAPES[VLLM]})"
        yield Sighting(
            (VLLM,),
            f"{admitted:,} tokens are {how} and the table has {rows:,} rows: positions beyond "
            "read what lies behind it",
            f"--max-model-len {rows}",
        )


@error(
    "length-refused",
    "the served length is more than the engine admits",
    "override max_position_embeddings too",
)
def refused(evidence: Evidence) -> Iterator[Sighting]:
    served = evidence.reading.served_length
    if served is None:
        return
    capped = {name: evidence.answers[name].max_length for name in (VLLM, SGLANG, LLAMA_CPP)}
    if evidence.rope_type == "longrope":
        capped[VLLM] = evidence.reading.longest
    over = {name: most for name, most in capped.items() if most is not None and served > most}
    listed = ", ".join(f"{name} {most:,}" for name, most in over.items())
    starts = (
        "vLLM and SGLang refuse to start"
        if any(name in _ESCAPES for name in over)
        else "llama.cpp's server caps its slots"
    )
    yield Sighting(
        (*over,),
        f"{served:,} tokens are more than what is admitted ({listed}); {starts}",
        _room_for(evidence, served, (*over,)),
    )


def _room_for(evidence: Evidence, served: int, engines: tuple[str, ...]) -> str:
    reading = evidence.reading
    if evidence.rope_type in TYPES_FROM_ORIGINAL:
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


@error(
    "growth-unscaled",
    "SGLang's linear and dynamic tables grow by unscaled rows",
    "serve at most as many tokens as the table has rows",
)
def grows(evidence: Evidence) -> Iterator[Sighting]:
    rows, served = evidence.rows(SGLANG), evidence.reading.served_length
    plain = evidence.rope_type in _GROWS_UNSCALED and not evidence.reading.latent
    if plain and rows is not None and served is not None and served > rows:
        yield Sighting(
            (SGLANG,),
            f"beyond {rows:,} rows the table grows by rows of unscaled rope_theta",
            f"serve at most {rows:,} tokens",
        )


@warning(
    "length-not-extended",
    "YaRN's factor does not enlarge the admitted length",
    "write max_position_embeddings = factor x original_max_position_embeddings",
)
def not_extended(evidence: Evidence) -> Iterator[Sighting]:
    factor, reading = evidence.number("factor"), evidence.reading
    if evidence.rope_type != "yarn" or factor is None:
        return
    scaled = int(factor * reading.original)
    if scaled > reading.longest:
        yield Sighting(
            evidence.running(VLLM, SGLANG, LLAMA_CPP),
            f"YaRN reaches {scaled:,} tokens, and max_position_embeddings still says "
            f"{reading.longest:,}: factor does not enlarge it (vLLM since pull request 56446)",
            f'write "max_position_embeddings": {scaled} and "{ORIGINAL}": {reading.original}',
        )


@warning(
    "length-multiplied",
    "vLLM and SGLang multiply max_position_embeddings by factor for linear, dynamic, ntk and "
    "proportional",
    "write the trained length as max_position_embeddings, or cap the served length",
)
def multiplied(evidence: Evidence) -> Iterator[Sighting]:
    factor, longest = evidence.number("factor"), evidence.reading.longest
    if factor is not None and factor != 1:
        scaled = int(longest * factor)
        engines = (name for name in _ESCAPES if evidence.answers[name].max_length == scaled)
        yield Sighting(
            tuple(engines),
            f"max_position_embeddings {longest:,} is taken for the length before scaling and "
            f"multiplied by factor: {scaled:,} tokens are admitted; transformers and llama.cpp "
            "take it for the final length",
        )


@warning(
    "original-length-missing",
    "original_max_position_embeddings is not stated and taken to be max_position_embeddings",
    "write original_max_position_embeddings inside the rope dict",
)
def no_original(evidence: Evidence) -> Iterator[Sighting]:
    reading = evidence.reading
    beside = None if reading.nested else reading.text.get(ORIGINAL)
    needs = evidence.rope_type in TYPES_FROM_ORIGINAL
    if needs and not evidence.has(ORIGINAL) and beside is None:
        yield Sighting(
            evidence.running(*ENGINE_NAMES),
            f"{ORIGINAL} is not stated and taken to be max_position_embeddings, "
            f"{reading.longest:,}: if that is the extended length, the ramp is computed for "
            "another trained length",
        )


@warning(
    "original-length-beside",
    "original_max_position_embeddings beside the rope dict overrides the one inside a flat dict, "
    "and is not read beside dicts for layer types",
    "write it inside the rope dict alone",
)
def original_beside(evidence: Evidence) -> Iterator[Sighting]:
    reading, engines = evidence.reading, evidence.running(*ENGINE_NAMES)
    beside, inside = reading.text.get(ORIGINAL), reading.rope.get(ORIGINAL)
    if beside is None or evidence.rope_type not in TYPES_FROM_ORIGINAL:
        return
    if reading.nested:
        yield Sighting(
            engines,
            f"{ORIGINAL} {beside} beside dicts for the layer types is not read",
            "write it inside each dict",
        )
    elif inside is None:
        yield Sighting(
            engines,
            f"{ORIGINAL} {beside} stands beside the rope dict; transformers moves it inside for "
            "yarn, longrope and llama3",
            severity=Severity.INFO,
        )
    elif beside != inside:
        yield Sighting(
            engines, f"{ORIGINAL} {beside} beside the rope dict overrides {inside} inside it"
        )


@info(
    "length-differs",
    "engines admit different lengths by default",
    "state the served length: --max-model-len, --context-length, -c",
)
def different(evidence: Evidence) -> Iterator[Sighting]:
    lengths = {name: answer.max_length for name, answer in evidence.answers.items()}
    found = {name: most for name, most in lengths.items() if most is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} {most:,}" for name, most in found.items())
        yield Sighting((*found,), f"admitted by default: {listed}")


@info(
    "converter-length",
    "llama.cpp's converter writes a fixed context length for Hunyuan",
    "-c",
)
def fixed(evidence: Evidence) -> Iterator[Sighting]:
    most, longest = evidence.answers[LLAMA_CPP].max_length, evidence.reading.longest
    if most is not None and most != longest:
        yield Sighting(
            (LLAMA_CPP,),
            f"the converter writes a context of {most:,} tokens for Hunyuan, whatever the config "
            f"states ({longest:,})",
            f"-c {longest}",
        )


KINDS = (
    *(short_table, refused, grows, not_extended, multiplied),
    *(no_original, original_beside, different, fixed),
)
