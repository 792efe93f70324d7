"""Findings about LongRoPE."""

from collections.abc import Iterator

from ropewalk.engines.answer import ENGINE_NAMES, LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import (
    SAME,
    Evidence,
    Severity,
    Sighting,
    error,
    number,
    warning,
)
from ropewalk.engines.llama_cpp.converter import WRITES_LISTS
from ropewalk.engines.vllm.lengths import max_model_len

_MAGNITUDES = ("factor", "attention_factor", "short_mscale", "long_mscale")
_DROP_THE_CACHE = frozenset({"phi3", "phimoe", "phi4_multimodal"})


def _engines(evidence: Evidence, *engines: str) -> tuple[str, ...]:
    """Those of ``engines`` that run LongRoPE for this config."""
    return evidence.running(*engines) if evidence.rope_type == "longrope" else ()


def _one_list(evidence: Evidence) -> bool:
    """Whether both lists are the same, so that nothing changes where an engine switches."""
    short, long = (evidence.reading.rope.get(name) for name in ("short_factor", "long_factor"))
    return short is not None and short == long


@error(
    "phimoe-short-list",
    "transformers 5.23.0 never uses long_factor in PhiMoE",
    "serve with vLLM, or rw.extend(model, 'native')",
)
def always_short(evidence: Evidence) -> Iterator[Sighting]:
    phimoe = evidence.rope_type == "longrope" and evidence.reading.model_type == "phimoe"
    if phimoe and not _one_list(evidence):
        yield Sighting(
            (TRANSFORMERS,),
            "PhiMoE computes its frequencies without a length, so that long_factor is never used; "
            "the other engines use it",
        )


@error(
    "longrope-magnitude",
    "factor, attention_factor, short_mscale and long_mscale of LongRoPE are each read by some "
    "engines only",
    "choose max_position_embeddings / original_max_position_embeddings so that sqrt(1 + ln(M/L) / "
    "ln L) is the wanted magnitude, and drop these keys",
)
def magnitude(evidence: Evidence) -> Iterator[Sighting]:
    given = [key for key in _MAGNITUDES if evidence.has(key)]
    found = {name: evidence.factor_of(name) or 0.0 for name in _engines(evidence, *ENGINE_NAMES)}
    if given and found and max(found.values()) - min(found.values()) > SAME:
        listed = ", ".join(f"{name} {number(value)}" for name, value in found.items())
        meant = {evidence.number(key) for key in _MAGNITUDES[1:]}
        off = evidence.off_factor(meant.pop() or 0.0) if len(meant) == 1 else (*found,)
        yield Sighting(
            tuple(name for name in off if name in found),
            f"{', '.join(given)}: transformers reads factor and attention_factor, vLLM and "
            f"SGLang read short_mscale and long_mscale, llama.cpp none of them: {listed}",
        )


@error(
    "longrope-cache",
    "transformers decodes LongRoPE inconsistently across the original length",
    "rw.extend(model, 'native'), which keeps keys un-rotated; or stay on one side of the original "
    "length",
)
def cache(evidence: Evidence) -> Iterator[Sighting]:
    model_type, original = evidence.reading.model_type, evidence.reading.original
    if model_type != "phimoe" and not _one_list(evidence):
        dropped = model_type in _DROP_THE_CACHE
        rescue = (
            f"; generate() alone drops the cache when it passes {original:,}"
            if dropped
            else "; this class never drops its cache"
        )
        yield Sighting(
            _engines(evidence, TRANSFORMERS),
            f"a call that passes {original:,} tokens turns to the long list, while cached keys "
            f"keep the short one{rescue}",
            severity=Severity.WARNING if dropped else Severity.ERROR,
        )


@error(
    "longrope-without-lists",
    "llama.cpp's converter writes LongRoPE's lists for Phi-3 and MiniCPM alone",
    "serve with vLLM or SGLang; or use yarn, which llama.cpp's flags express",
)
def without_lists(evidence: Evidence) -> Iterator[Sighting]:
    model_type = evidence.reading.model_type
    if evidence.rope_type == "longrope" and model_type not in WRITES_LISTS:
        yield Sighting(
            evidence.running(LLAMA_CPP),
            f"a file of {model_type} has the type longrope and no lists: nothing is scaled, and "
            "nothing is said",
        )


@warning(
    "longrope-choice",
    "each engine has its own rule for when the long list is used",
    "serve at most original_max_position_embeddings tokens for the short list, more for the long "
    "one",
)
def choice(evidence: Evidence) -> Iterator[Sighting]:
    original = evidence.reading.original
    listed = (name for name in _engines(evidence, *ENGINE_NAMES) if evidence.holds_lists(name))
    if _one_list(evidence):
        return
    yield Sighting(
        tuple(listed),
        f"the long list is used beyond {original:,} tokens of: the sequence of a call "
        "(transformers), max_model_len for all requests (vLLM), the longest request of a batch "
        "(SGLang), a slot's n_ctx (llama.cpp)",
        f"for short texts on the short list serve at most {original:,} tokens (vLLM "
        f"--max-model-len {original}, llama.cpp -c {original}); for one behaviour at all lengths "
        "serve more",
    )


@warning(
    "longrope-off-by-one",
    "SGLang reads row 0 for the first position beyond the original length and decides for the "
    "whole batch",
    "keep all requests of a server on one side of the original length",
)
def off_by_one(evidence: Evidence) -> Iterator[Sighting]:
    yield Sighting(
        _engines(evidence, SGLANG),
        f"position {evidence.reading.original:,} alone is read from the row of position 0, and one "
        "request beyond it moves every other request of the batch to the long list",
    )


@warning(
    "longrope-default-length",
    "vLLM serves original_max_position_embeddings tokens unless told otherwise",
    "--max-model-len",
)
def default_length(evidence: Evidence) -> Iterator[Sighting]:
    reading, engines = evidence.reading, _engines(evidence, VLLM)
    if not engines or reading.served_length is not None:
        return
    if (served := max_model_len(reading)) < reading.longest:
        yield Sighting(
            engines,
            f"without --max-model-len vLLM serves {served:,} of {reading.longest:,} tokens, with "
            "the short list",
            f"--max-model-len {reading.longest}, which turns all requests to the long list",
        )


KINDS = (always_short, without_lists, magnitude, cache, choice, off_by_one, default_length)
