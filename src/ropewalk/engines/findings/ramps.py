"""Findings about YaRN's frequencies."""

from collections.abc import Iterator

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Sighting, error, number, warning
from ropewalk.engines.llama_cpp.rules import READS_BETAS
from ropewalk.engines.stated import BETA_FAST, BETA_SLOW, truncate
from ropewalk.engines.vllm.lengths import positions_factor
from ropewalk.frequencies.ramps import IndexRamp


def _is_yarn(evidence: Evidence) -> bool:
    return evidence.rope_type == "yarn"


def _untruncated(evidence: Evidence) -> bool:
    return _is_yarn(evidence) and evidence.reading.rope.get("truncate", True) is False


def _betas(evidence: Evidence) -> tuple[float, float]:
    return BETA_FAST(evidence.reading).value, BETA_SLOW(evidence.reading).value


def _percent(difference: float | None) -> str:
    return "" if difference is None else f"; a frequency is up to {100 * difference:.0f} % off"


@error(
    "nested-truncate",
    "transformers 5.23.0 ignores truncate inside a dict for one layer type",
    'for transformers alone write "truncate": false a second time, at the top of rope_parameters '
    "(vLLM then takes the dict for a flat one)",
)
def nested_truncate(evidence: Evidence) -> Iterator[Sighting]:
    if _untruncated(evidence) and evidence.reading.nested:
        yield Sighting(
            evidence.library,
            "truncate is read beside the dicts of the layer types, not inside them, so that the "
            "cut-offs are rounded after all" + _percent(evidence.difference(TRANSFORMERS, VLLM)),
        )


@error(
    "truncate-ignored",
    "truncate false is not read: llama.cpp always, vLLM and SGLang with latent attention",
    "serve with transformers, vLLM or SGLang without latent attention; there is no flag for it "
    "here",
)
def rounded(evidence: Evidence) -> Iterator[Sighting]:
    latent = (VLLM, SGLANG) if evidence.reading.latent else ()
    engines = evidence.running(*latent, LLAMA_CPP)
    if _untruncated(evidence) and engines:
        reference = VLLM if evidence.reading.nested else TRANSFORMERS
        yield Sighting(
            engines,
            "truncate false is not read here: the cut-offs are rounded to whole pairs"
            + _percent(evidence.difference(engines[-1], reference)),
        )


@error(
    "mrope-ramp",
    "vLLM computes the ramp of YaRN with mrope from 4 x L (not Qwen3-VL and later)",
    "serve with SGLang, or without YaRN",
)
def video_ramp(evidence: Evidence) -> Iterator[Sighting]:
    times = positions_factor(evidence.reading)
    if times != 1 and _is_yarn(evidence):
        yield Sighting(
            evidence.running(VLLM),
            f"the table is made {times} times longer for video positions, and the ramp takes "
            f"{times} x L for L" + _percent(evidence.difference(VLLM, TRANSFORMERS)),
        )


@error(
    "betas-ignored",
    "llama.cpp reads beta_fast and beta_slow for grok and mistral3 alone",
    "--yarn-beta-fast and --yarn-beta-slow on the command line",
)
def betas(evidence: Evidence) -> Iterator[Sighting]:
    fast, slow = _betas(evidence)
    reads = evidence.reading.model_type in READS_BETAS
    if _is_yarn(evidence) and (fast, slow) != (32.0, 1.0) and not reads:
        yield Sighting(
            (LLAMA_CPP,),
            f"beta_fast {number(fast)} and beta_slow {number(slow)} are stored in the GGUF and "
            "not read for this architecture: 32 and 1 are used",
            f"--yarn-beta-fast {number(fast)} --yarn-beta-slow {number(slow)}",
        )


@warning(
    "cut-offs-crossed",
    "beta_fast and beta_slow for which the ramp runs backwards",
    "exchange beta_fast and beta_slow, or raise original_max_position_embeddings",
)
def crossed(evidence: Evidence) -> Iterator[Sighting]:
    fast, slow = _betas(evidence)
    if not _is_yarn(evidence) or not (fast > 0 and slow > 0):
        return
    reading = evidence.reading
    whole = bool(truncate(reading).value)
    ramp = IndexRamp(beta_fast=fast, beta_slow=slow, truncate=whole)
    low, high = ramp.cut_offs(reading.geometry(reading.original))
    if high < low:
        yield Sighting(
            evidence.running(TRANSFORMERS, VLLM, SGLANG),
            f"the cut-offs cross (low {number(low)}, high {number(high)}): the width is "
            "negative, and the ramp interpolates fast pairs in place of slow ones",
        )


@warning(
    "factor-and-ratio",
    "YaRN's factor is not max_position_embeddings over original_max_position_embeddings",
    "make the three agree",
)
def ratio(evidence: Evidence) -> Iterator[Sighting]:
    factor = evidence.number("factor")
    ratio = evidence.reading.longest / evidence.reading.original
    if _is_yarn(evidence) and factor is not None and ratio not in (1, factor):
        yield Sighting(
            (TRANSFORMERS,),
            f"factor {number(factor)} is not max_position_embeddings / {ORIGINAL} = "
            f"{number(ratio)}; factor counts, with a warning (releases before pull request 40320 "
            "took the ratio)",
            f'write "factor": {ratio:.6g}, or max_position_embeddings = factor x {ORIGINAL}',
        )


KINDS = (nested_truncate, rounded, video_ramp, betas, crossed, ratio)
