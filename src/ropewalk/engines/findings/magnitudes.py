"""Findings about attention factors and softmax scales."""

from ropewalk.engines.answer import ENGINE_NAMES, LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting, number
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

OVERRIDE = "ARCH.rope.scaling.attn_factor"
"""llama.cpp's one working key: a multiplier of m(s). ARCH is the GGUF's general.architecture."""
_SWITCHES = ("extrapolation_factor", "apply_yarn_scaling", "apply_scale")


def _is_plain_yarn(evidence: Evidence) -> bool:
    return evidence.rope_type == "yarn" and not evidence.reading.latent


def listed_factors(evidence: Evidence, engines: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {number(evidence.factor_of(name) or 0)}" for name in engines)


def _ignored(evidence: Evidence) -> Sighting | None:
    stated, factor = evidence.number("attention_factor"), evidence.number("factor")
    if stated is None or factor is None or not _is_plain_yarn(evidence):
        return None
    engines = evidence.off_factor(stated)
    if not engines:
        return None
    multiplier = f"{stated / yarn_mscale(factor):.7g}"
    remedies = {
        SGLANG: f"for SGLang write attn_factor {multiplier} (= attention_factor / m(s))",
        LLAMA_CPP: f"for llama.cpp --override-kv {OVERRIDE}=float:{multiplier}",
    }
    return Sighting(
        engines=engines,
        message=f"attention_factor {number(stated)} replaces the computed magnitude in "
        f"transformers and vLLM; not here: {listed_factors(evidence, engines)}",
        remedy="; ".join(text for name, text in remedies.items() if name in engines),
    )


def _squared(evidence: Evidence) -> Sighting | None:
    stated = evidence.number("attention_factor")
    if stated is None or abs(stated - 1) < 1e-9:
        return None
    engines = tuple(n for n in ENGINE_NAMES if "attention_factor" in evidence.answers[n].keys_read)
    if not engines:
        return None
    return Sighting(
        engines=engines,
        message=f"attention_factor {number(stated)} multiplies cos and sin, so the rotary part of "
        f"every logit is multiplied by its square, {number(stated**2)}",
    )


def _integer(evidence: Evidence) -> Sighting | None:
    value = evidence.reading.rope.get("attention_factor")
    if not isinstance(value, int) or isinstance(value, bool) or evidence.rope_type != "yarn":
        return None
    return Sighting(
        engines=(TRANSFORMERS,),
        message=f"attention_factor {value} is an integer; transformers warns and uses it",
        remedy=f'write "attention_factor": {value}.0',
    )


def _attn_factor(evidence: Evidence) -> Sighting | None:
    value = evidence.number("attn_factor")
    if value is None or value == 1 or evidence.rope_type != "yarn":
        return None
    return Sighting(
        engines=tuple(n for n in ENGINE_NAMES if evidence.factor_of(n) is not None),
        message=f"attn_factor {number(value)} multiplies the computed magnitude in SGLang and is "
        f"not read elsewhere: {listed_factors(evidence, ENGINE_NAMES)}",
        remedy="write the final magnitude as attention_factor for transformers and vLLM, and its "
        "quotient by m(s) as attn_factor for SGLang",
    )


def _one_mscale(evidence: Evidence) -> Sighting | None:
    given = [key for key in ("mscale", "mscale_all_dim") if evidence.number(key)]
    if len(given) != 1 or evidence.rope_type == "default":
        return None
    if not evidence.reading.latent and evidence.rope_type != "yarn":
        return None
    known = {evidence.factor_of(n) for n in ENGINE_NAMES} - {None}
    apart = max(known, default=0.0) - min(known, default=0.0) > 1e-4  # type: ignore[type-var, operator]
    return Sighting(
        engines=tuple(n for n in ENGINE_NAMES if evidence.factor_of(n) is not None),
        message=f"{given[0]} without its partner is ignored by transformers and used by some of "
        f"the others: {listed_factors(evidence, ENGINE_NAMES)}",
        severity=Severity.ERROR if apart else Severity.INFO,
    )


def _zero_mscale(evidence: Evidence) -> Sighting | None:
    pair = (evidence.number("mscale"), evidence.number("mscale_all_dim"))
    if None in pair or 0 not in pair or not _is_plain_yarn(evidence):
        return None
    ours, theirs = evidence.factor_of(TRANSFORMERS), evidence.factor_of(SGLANG)
    if ours is None or theirs is None or SGLANG not in evidence.off_factor(ours):
        return None
    return Sighting(
        engines=(SGLANG,),
        message=f"an mscale of 0 means absent in transformers and vLLM ({number(ours)}) and counts "
        f"as given here ({number(theirs)})",
    )


def _pair_in_llama_cpp(evidence: Evidence) -> Sighting | None:
    given = evidence.number("mscale") and evidence.number("mscale_all_dim")
    if not given or evidence.rope_type != "yarn" or evidence.has("attention_factor"):
        return None
    ours, theirs = evidence.factor_of(TRANSFORMERS), evidence.factor_of(LLAMA_CPP)
    if ours is None or theirs is None or LLAMA_CPP not in evidence.off_factor(ours):
        return None
    latent = evidence.reading.latent
    why = "takes both for equal" if latent else "does not read the pair"
    return Sighting(
        engines=(LLAMA_CPP,),
        message=f"mscale and mscale_all_dim: llama.cpp {why}; attention factor {number(theirs)} "
        f"instead of {number(ours)}",
        remedy="serve with another engine; an override of the factor changes the softmax scale too"
        if latent
        else f"--override-kv {OVERRIDE}=float:{ours / theirs:.7g}",
    )


def _switches(evidence: Evidence) -> Sighting | None:
    given = [key for key in _SWITCHES if evidence.has(key)]
    if not given:
        return None
    names = ", ".join(given)
    return Sighting(
        engines=(TRANSFORMERS, VLLM, LLAMA_CPP),
        message=f"{names}: read by SGLang; transformers never did, vLLM no longer does (pull "
        "request 56446), llama.cpp does not hand it to the graph",
    )


def _shift(evidence: Evidence) -> Sighting | None:
    magnitude = evidence.factor_of(LLAMA_CPP)
    if magnitude is None or evidence.rope_type != "yarn" or abs(magnitude - 1) < 1e-4:
        return None
    return Sighting(
        engines=(LLAMA_CPP,),
        message="a context shift turns cached keys again and multiplies them by the attention "
        f"factor {number(magnitude)} again, once a shift",
    )


KINDS = (
    Kind(
        id="attention-factor-ignored",
        severity=Severity.ERROR,
        meaning="attention_factor is final in transformers and vLLM (plain YaRN) and not read by "
        "SGLang and llama.cpp",
        remedy="for SGLang write attn_factor = attention_factor / m(s); for llama.cpp "
        f"--override-kv {OVERRIDE}=float:(attention_factor / m(s))",
        look=_ignored,
    ),
    Kind(
        id="attn-factor",
        severity=Severity.ERROR,
        meaning="attn_factor multiplies in SGLang and is not read elsewhere (--yarn-attn-factor "
        "has no effect either)",
        remedy="write attention_factor for transformers and vLLM, attn_factor for SGLang",
        look=_attn_factor,
    ),
    Kind(
        id="one-mscale",
        severity=Severity.ERROR,
        meaning="mscale or mscale_all_dim alone: ignored by transformers, used with a default "
        "partner for latent attention in vLLM and SGLang",
        remedy="write both, or neither",
        look=_one_mscale,
    ),
    Kind(
        id="zero-mscale",
        severity=Severity.ERROR,
        meaning="an mscale of 0 is absent in transformers and vLLM, given in SGLang",
        remedy="drop both keys",
        look=_zero_mscale,
    ),
    Kind(
        id="mscale-pair-ignored",
        severity=Severity.ERROR,
        meaning="llama.cpp does not read the mscale pair, or takes its members for equal (MLA)",
        remedy=f"--override-kv {OVERRIDE}=float:(wanted / computed)",
        look=_pair_in_llama_cpp,
    ),
    Kind(
        id="yarn-switches",
        severity=Severity.WARNING,
        meaning="extrapolation_factor, apply_yarn_scaling, apply_scale: read by SGLang alone",
        remedy="drop the key; for no magnitude write attention_factor 1.0",
        look=_switches,
    ),
    Kind(
        id="attention-factor-squared",
        severity=Severity.INFO,
        meaning="attention_factor acts on cos and sin, so on logits with its square",
        remedy="where a factor on the logits is meant, write its square root",
        look=_squared,
    ),
    Kind(
        id="attention-factor-integer",
        severity=Severity.INFO,
        meaning="transformers warns about an integer attention_factor",
        remedy='write it as a float: "attention_factor": 1.0',
        look=_integer,
    ),
    Kind(
        id="context-shift",
        severity=Severity.INFO,
        meaning="llama.cpp's context shift applies YaRN's magnitude again to shifted keys",
        remedy="leave --context-shift off, as it is by default",
        look=_shift,
    ),
)
