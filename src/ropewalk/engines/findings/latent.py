"""Findings about multi-head latent attention."""

from ropewalk.engines.answer import SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting, number
from ropewalk.engines.findings.magnitudes import listed_factors
from ropewalk.engines.magnitudes import latent_multiplier

_WITHOUT_MSCALE_ONCE = frozenset({"deepseek_v2", "mistral4"})


def _latent_ignored(evidence: Evidence) -> Sighting | None:
    stated = evidence.number("attention_factor")
    if stated is None or not evidence.reading.latent:
        return None
    engines = evidence.off_factor(stated)
    if not engines:
        return None
    return Sighting(
        engines=engines,
        message=f"attention_factor {number(stated)} is not read with latent attention: "
        f"{listed_factors(evidence, engines)}",
    )


def _latent_switch(evidence: Evidence) -> Sighting | None:
    meant = latent_multiplier(evidence.reading)
    if evidence.number("attention_factor") != 1.0 or not evidence.reading.latent or meant == 1:
        return None
    return Sighting(
        engines=(VLLM,),
        message="attention_factor is exactly 1.0, which vLLM takes to mean that the softmax scale "
        f"has no mscale squared: multiplier 1 instead of {number(meant)}",
    )


def _forced(evidence: Evidence) -> Sighting | None:
    other = evidence.rope_type not in ("default", "yarn", "deepseek_yarn")
    if not evidence.reading.latent or not other:
        return None
    return Sighting(
        engines=(VLLM, SGLANG),
        message=f"latent attention takes any rope_type but default for YaRN, so "
        f"{evidence.rope_type!r} is not what is computed",
    )


def _softmax(evidence: Evidence) -> Sighting | None:
    meant = evidence.answers[TRANSFORMERS].softmax_scale_multiplier
    if meant is None or not evidence.reading.section.latent_attention:
        return None
    engines = evidence.off_multiplier(meant)
    if not engines:
        return None
    found = ", ".join(
        f"{n} {number(evidence.answers[n].softmax_scale_multiplier or 0)}" for n in engines
    )
    return Sighting(
        engines=engines,
        message=f"the softmax scale is qk_head_dim^-1/2 times {number(meant)} in transformers; "
        f"{found}",
    )


def _release(evidence: Evidence) -> Sighting | None:
    if evidence.reading.model_type not in _WITHOUT_MSCALE_ONCE:
        return None
    multiplier = evidence.answers[TRANSFORMERS].softmax_scale_multiplier
    if multiplier is None or multiplier == 1:
        return None
    return Sighting(
        engines=(TRANSFORMERS,),
        message=f"the softmax multiplier {number(multiplier)} came with pull request 47435; "
        "earlier releases computed this model without it",
    )


KINDS = (
    Kind(
        id="softmax-scale",
        severity=Severity.ERROR,
        meaning="engines multiply the softmax scale of latent attention differently",
        remedy="write mscale and mscale_all_dim, and no attention_factor",
        look=_softmax,
    ),
    Kind(
        id="attention-factor-switch",
        severity=Severity.ERROR,
        meaning="attention_factor exactly 1.0 switches mscale squared off in vLLM's latent "
        "attention",
        remedy="drop attention_factor; write mscale equal to mscale_all_dim for a factor of 1",
        look=_latent_switch,
    ),
    Kind(
        id="attention-factor-mla",
        severity=Severity.ERROR,
        meaning="attention_factor is not read with latent attention (vLLM, SGLang, llama.cpp)",
        remedy="write mscale and mscale_all_dim, whose ratio of magnitudes is the factor",
        look=_latent_ignored,
    ),
    Kind(
        id="mla-forced-yarn",
        severity=Severity.ERROR,
        meaning="vLLM and SGLang compute YaRN for latent attention, whatever the type but default",
        remedy="write rope_type yarn, or default",
        look=_forced,
    ),
    Kind(
        id="softmax-scale-release",
        severity=Severity.INFO,
        meaning="transformers before July 2026 computed DeepSeek-V2 and Mistral 4 without mscale "
        "squared (pull request 47435)",
        remedy="compare logits with transformers 5.23.0 or later only",
        look=_release,
    ),
)
