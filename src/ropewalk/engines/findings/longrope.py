"""Findings about LongRoPE."""

from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting, number
from ropewalk.engines.vllm.lengths import max_model_len

_MAGNITUDES = ("factor", "attention_factor", "short_mscale", "long_mscale")
_DROP_THE_CACHE = frozenset({"phi3", "phimoe", "phi4_multimodal"})


def _applies(evidence: Evidence, *engines: str) -> bool:
    return evidence.rope_type == "longrope" and bool(evidence.running(*engines))


def _always_short(evidence: Evidence) -> Sighting | None:
    if evidence.rope_type != "longrope" or evidence.reading.model_type != "phimoe":
        return None
    return Sighting(
        engines=(TRANSFORMERS,),
        message="PhiMoE computes its frequencies without a length, so that long_factor is never "
        "used; the other engines use it",
    )


def _magnitude(evidence: Evidence) -> Sighting | None:
    given = [key for key in _MAGNITUDES if evidence.has(key)]
    engines = evidence.running(TRANSFORMERS, VLLM, SGLANG, LLAMA_CPP)
    if evidence.rope_type != "longrope" or not given or not engines:
        return None
    found = {name: evidence.factor_of(name) or 0.0 for name in engines}
    if max(found.values()) - min(found.values()) <= 1e-4:
        return None
    listed = ", ".join(f"{name} {number(value)}" for name, value in found.items())
    return Sighting(
        engines=engines,
        message=f"{', '.join(given)}: transformers reads factor and attention_factor, vLLM and "
        f"SGLang read short_mscale and long_mscale, llama.cpp none of them: {listed}",
    )


def _cache(evidence: Evidence) -> Sighting | None:
    if not _applies(evidence, TRANSFORMERS) or evidence.reading.model_type == "phimoe":
        return None
    original = evidence.reading.original
    dropped = evidence.reading.model_type in _DROP_THE_CACHE
    rescue = (
        f"; generate() alone drops the cache when it passes {original:,}"
        if dropped
        else "; this class never drops its cache"
    )
    return Sighting(
        engines=(TRANSFORMERS,),
        message=f"a call that passes {original:,} tokens turns to the long list, while cached keys "
        f"keep the short one{rescue}",
        severity=Severity.WARNING if dropped else Severity.ERROR,
    )


def _choice(evidence: Evidence) -> Sighting | None:
    if not _applies(evidence, TRANSFORMERS, VLLM, SGLANG, LLAMA_CPP):
        return None
    original = evidence.reading.original
    return Sighting(
        engines=evidence.running(TRANSFORMERS, VLLM, SGLANG, LLAMA_CPP),
        message=f"the long list is used beyond {original:,} tokens of: the sequence of a call "
        "(transformers), max_model_len for all requests (vLLM), the longest request of a batch "
        "(SGLang), a slot's n_ctx (llama.cpp)",
        remedy=f"for short texts on the short list serve at most {original:,} tokens (vLLM "
        f"--max-model-len {original}, llama.cpp -c {original}); for one behaviour at all lengths "
        "serve more",
    )


def _off_by_one(evidence: Evidence) -> Sighting | None:
    if not _applies(evidence, SGLANG):
        return None
    original = evidence.reading.original
    return Sighting(
        engines=(SGLANG,),
        message=f"position {original:,} alone is read from the row of position 0, and one request "
        "beyond it moves every other request of the batch to the long list",
    )


def _default_length(evidence: Evidence) -> Sighting | None:
    if not _applies(evidence, VLLM) or evidence.reading.served_length is not None:
        return None
    served = max_model_len(evidence.reading)
    if served >= evidence.reading.longest:
        return None
    return Sighting(
        engines=(VLLM,),
        message=f"without --max-model-len vLLM serves {served:,} of "
        f"{evidence.reading.longest:,} tokens, with the short list",
        remedy=f"--max-model-len {evidence.reading.longest}, which turns all requests to the long "
        "list",
    )


KINDS = (
    Kind(
        id="phimoe-short-list",
        severity=Severity.ERROR,
        meaning="transformers 5.23.0 never uses long_factor in PhiMoE",
        remedy="serve with vLLM, or rw.extend(model, 'native')",
        look=_always_short,
    ),
    Kind(
        id="longrope-magnitude",
        severity=Severity.ERROR,
        meaning="factor, attention_factor, short_mscale and long_mscale of LongRoPE are each read "
        "by some engines only",
        remedy="choose max_position_embeddings / original_max_position_embeddings so that "
        "sqrt(1 + ln(M/L) / ln L) is the wanted magnitude, and drop these keys",
        look=_magnitude,
    ),
    Kind(
        id="longrope-cache",
        severity=Severity.ERROR,
        meaning="transformers decodes LongRoPE inconsistently across the original length",
        remedy="rw.extend(model, 'native'), which keeps keys un-rotated; or stay on one side of "
        "the original length",
        look=_cache,
    ),
    Kind(
        id="longrope-choice",
        severity=Severity.WARNING,
        meaning="each engine has its own rule for when the long list is used",
        remedy="serve at most original_max_position_embeddings tokens for the short list, more "
        "for the long one",
        look=_choice,
    ),
    Kind(
        id="longrope-off-by-one",
        severity=Severity.WARNING,
        meaning="SGLang reads row 0 for the first position beyond the original length and decides "
        "for the whole batch",
        remedy="keep all requests of a server on one side of the original length",
        look=_off_by_one,
    ),
    Kind(
        id="longrope-default-length",
        severity=Severity.WARNING,
        meaning="vLLM serves original_max_position_embeddings tokens unless told otherwise",
        remedy="--max-model-len",
        look=_default_length,
    ),
)
