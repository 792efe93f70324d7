"""Findings about YaRN's frequencies."""

from dataclasses import replace

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting, number
from ropewalk.engines.llama_cpp.rules import READS_BETAS
from ropewalk.engines.vllm.lengths import positions_factor
from ropewalk.engines.vllm.rules import through_transformers
from ropewalk.frequencies.ramps import IndexRamp


def _is_yarn(evidence: Evidence) -> bool:
    return evidence.rope_type == "yarn"


def _untruncated(evidence: Evidence) -> bool:
    return _is_yarn(evidence) and evidence.reading.rope.get("truncate", True) is False


def _percent(difference: float | None) -> str:
    return "" if difference is None else f"; a frequency is up to {100 * difference:.0f} % off"


def _nested_truncate(evidence: Evidence) -> Sighting | None:
    if not _untruncated(evidence) or not evidence.reading.nested:
        return None
    engines = (TRANSFORMERS, VLLM) if through_transformers(evidence.reading) else (TRANSFORMERS,)
    return Sighting(
        engines=engines,
        message="truncate is read beside the dicts of the layer types, not inside them, so that "
        "the cut-offs are rounded after all" + _percent(evidence.difference(TRANSFORMERS, VLLM)),
    )


def _rounded(evidence: Evidence) -> Sighting | None:
    if not _untruncated(evidence):
        return None
    always = (VLLM, SGLANG, LLAMA_CPP) if evidence.reading.latent else (LLAMA_CPP,)
    engines = evidence.running(*always)
    if not engines:
        return None
    reference = VLLM if evidence.reading.nested else TRANSFORMERS
    return Sighting(
        engines=engines,
        message="truncate false is not read here: the cut-offs are rounded to whole pairs"
        + _percent(evidence.difference(engines[-1], reference)),
    )


def _betas(evidence: Evidence) -> Sighting | None:
    fast, slow = evidence.number("beta_fast") or 32.0, evidence.number("beta_slow") or 1.0
    default = (fast, slow) == (32.0, 1.0)
    if default or not _is_yarn(evidence) or evidence.reading.model_type in READS_BETAS:
        return None
    return Sighting(
        engines=(LLAMA_CPP,),
        message=f"beta_fast {number(fast)} and beta_slow {number(slow)} are stored in the GGUF "
        "and not read for this architecture: 32 and 1 are used",
        remedy=f"--yarn-beta-fast {number(fast)} --yarn-beta-slow {number(slow)}",
    )


def _video_ramp(evidence: Evidence) -> Sighting | None:
    times = positions_factor(evidence.reading)
    if times == 1 or not _is_yarn(evidence) or not evidence.running(VLLM):
        return None
    return Sighting(
        engines=(VLLM,),
        message=f"the table is made {times} times longer for video positions, and the ramp takes "
        f"{times} x L for L" + _percent(evidence.difference(VLLM, TRANSFORMERS)),
    )


def _crossed(evidence: Evidence) -> Sighting | None:
    fast, slow = evidence.number("beta_fast") or 32.0, evidence.number("beta_slow") or 1.0
    if not _is_yarn(evidence) or not (fast > 0 and slow > 0):
        return None
    geometry = evidence.reading.section.geometry()
    ramp = IndexRamp(
        beta_fast=fast,
        beta_slow=slow,
        truncate=bool(evidence.reading.rope.get("truncate", True)),
    )
    geometry = replace(geometry, trained_length=evidence.reading.original)
    low, high = ramp.cut_offs(geometry)
    if high >= low:
        return None
    return Sighting(
        engines=evidence.running(TRANSFORMERS, VLLM, SGLANG),
        message=f"the cut-offs cross (low {number(low)}, high {number(high)}): the width is "
        "negative, and the ramp interpolates fast pairs in place of slow ones",
    )


def _ratio(evidence: Evidence) -> Sighting | None:
    factor, reading = evidence.number("factor"), evidence.reading
    ratio = reading.longest / reading.original
    if factor is None or not _is_yarn(evidence) or ratio in (1, factor):
        return None
    return Sighting(
        engines=(TRANSFORMERS,),
        message=f"factor {number(factor)} is not max_position_embeddings / {ORIGINAL} = "
        f"{number(ratio)}; factor counts, with a warning (releases before pull request 40320 "
        "took the ratio)",
        remedy=f'write "factor": {ratio:.6g}, or max_position_embeddings = factor x {ORIGINAL}',
    )


KINDS = (
    Kind(
        id="nested-truncate",
        severity=Severity.ERROR,
        meaning="transformers 5.23.0 ignores truncate inside a dict for one layer type",
        remedy='for transformers alone write "truncate": false a second time, at the top of '
        "rope_parameters (vLLM then takes the dict for a flat one)",
        look=_nested_truncate,
    ),
    Kind(
        id="truncate-ignored",
        severity=Severity.ERROR,
        meaning="truncate false is not read: llama.cpp always, vLLM and SGLang with latent "
        "attention",
        remedy="serve with transformers, vLLM or SGLang without latent attention; there is no "
        "flag for it here",
        look=_rounded,
    ),
    Kind(
        id="mrope-ramp",
        severity=Severity.ERROR,
        meaning="vLLM computes the ramp of YaRN with mrope from 4 x L (not Qwen3-VL and later)",
        remedy="serve with SGLang, or without YaRN",
        look=_video_ramp,
    ),
    Kind(
        id="betas-ignored",
        severity=Severity.ERROR,
        meaning="llama.cpp reads beta_fast and beta_slow for grok and mistral3 alone",
        remedy="--yarn-beta-fast and --yarn-beta-slow on the command line",
        look=_betas,
    ),
    Kind(
        id="cut-offs-crossed",
        severity=Severity.WARNING,
        meaning="beta_fast and beta_slow for which the ramp runs backwards",
        remedy="exchange beta_fast and beta_slow, or raise original_max_position_embeddings",
        look=_crossed,
    ),
    Kind(
        id="factor-and-ratio",
        severity=Severity.WARNING,
        meaning="YaRN's factor is not max_position_embeddings over "
        "original_max_position_embeddings",
        remedy="make the three agree",
        look=_ratio,
    ),
)
