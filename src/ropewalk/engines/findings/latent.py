"""Findings about multi-head latent attention."""

from collections.abc import Iterator

from ropewalk.engines.answer import SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Sighting, error, info, number
from ropewalk.engines.magnitudes import latent_multiplier

_WITHOUT_MSCALE_ONCE = frozenset({"deepseek_v2", "mistral4"})


@error(
    "softmax-scale",
    "engines multiply the softmax scale of latent attention differently",
    "write mscale and mscale_all_dim, and no attention_factor",
)
def softmax_scale(evidence: Evidence) -> Iterator[Sighting]:
    meant = evidence.answers[TRANSFORMERS].softmax_scale_multiplier
    if meant is not None and evidence.reading.section.latent_attention:
        engines = evidence.off_multiplier(meant)
        multipliers = {name: evidence.answers[name].softmax_scale_multiplier for name in engines}
        found = ", ".join(f"{name} {number(value or 0)}" for name, value in multipliers.items())
        yield Sighting(
            engines,
            f"the softmax scale is qk_head_dim^-1/2 times {number(meant)} in transformers; {found}",
        )


@error(
    "attention-factor-switch",
    "attention_factor exactly 1.0 switches mscale squared off in vLLM's latent attention",
    "drop attention_factor; write mscale equal to mscale_all_dim for a factor of 1",
)
def switch(evidence: Evidence) -> Iterator[Sighting]:
    meant = latent_multiplier(evidence.reading)
    if evidence.number("attention_factor") == 1.0 and evidence.reading.latent and meant != 1:
        yield Sighting(
            (VLLM,),
            "attention_factor is exactly 1.0, which vLLM takes to mean that the softmax scale "
            f"has no mscale squared: multiplier 1 instead of {number(meant)}",
        )


@error(
    "attention-factor-mla",
    "attention_factor is not read with latent attention (vLLM, SGLang, llama.cpp)",
    "write mscale and mscale_all_dim, whose ratio of magnitudes is the factor",
)
def ignored(evidence: Evidence) -> Iterator[Sighting]:
    stated = evidence.number("attention_factor")
    if stated is not None and evidence.reading.latent:
        engines = evidence.off_factor(stated)
        yield Sighting(
            engines,
            f"attention_factor {number(stated)} is not read with latent attention: "
            f"{evidence.factors(engines)}",
        )


@error(
    "mla-forced-yarn",
    "vLLM and SGLang compute YaRN for latent attention, whatever the type but default",
    "write rope_type yarn, or default",
)
def forced_yarn(evidence: Evidence) -> Iterator[Sighting]:
    if evidence.reading.latent and evidence.rope_type not in ("default", "yarn", "deepseek_yarn"):
        yield Sighting(
            (VLLM, SGLANG),
            "latent attention takes any rope_type but default for YaRN, so "
            f"{evidence.rope_type!r} is not what is computed",
        )


@info(
    "softmax-scale-release",
    "transformers before July 2026 computed DeepSeek-V2 and Mistral 4 without mscale squared (pull "
    "request 47435)",
    "compare logits with transformers 5.23.0 or later only",
)
def release(evidence: Evidence) -> Iterator[Sighting]:
    multiplier = evidence.answers[TRANSFORMERS].softmax_scale_multiplier
    once = evidence.reading.model_type in _WITHOUT_MSCALE_ONCE
    if once and multiplier is not None and multiplier != 1:
        yield Sighting(
            (TRANSFORMERS,),
            f"the softmax multiplier {number(multiplier)} came with pull request 47435; "
            "earlier releases computed this model without it",
        )


KINDS = (softmax_scale, switch, ignored, forced_yarn, release)
