"""Findings about attention factors and softmax scales."""

from collections.abc import Iterator

from ropewalk.engines.answer import ENGINE_NAMES, LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import (
    SAME,
    Evidence,
    Severity,
    Sighting,
    error,
    info,
    number,
    warning,
)
from ropewalk.engines.magnitudes import MSCALES
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

OVERRIDE = "ARCH.rope.scaling.attn_factor"
"""llama.cpp's one working key: a multiplier of m(s). ARCH is the GGUF's general.architecture."""
_SWITCHES = ("extrapolation_factor", "apply_yarn_scaling", "apply_scale")


def _is_plain_yarn(evidence: Evidence) -> bool:
    return evidence.rope_type == "yarn" and not evidence.reading.latent


def _with_factor(evidence: Evidence) -> tuple[str, ...]:
    return tuple(name for name in ENGINE_NAMES if evidence.factor_of(name) is not None)


def _apart(evidence: Evidence, engine: str) -> tuple[float, float] | None:
    """Attention factors of transformers and of ``engine``, where they differ."""
    ours, theirs = evidence.factor_of(TRANSFORMERS), evidence.factor_of(engine)
    if ours is None or theirs is None or engine not in evidence.off_factor(ours):
        return None
    return ours, theirs


@error(
    "attention-factor-ignored",
    "attention_factor is final in transformers and vLLM (plain YaRN) and not read by SGLang and "
    "llama.cpp",
    "for SGLang write attn_factor = attention_factor / m(s); for llama.cpp --override-kv "
    f"{OVERRIDE}=float:(attention_factor / m(s))",
)
def ignored(evidence: Evidence) -> Iterator[Sighting]:
    stated, factor = evidence.number("attention_factor"), evidence.number("factor")
    if stated is None or factor is None or not _is_plain_yarn(evidence):
        return
    engines = evidence.off_factor(stated)
    multiplier = f"{stated / yarn_mscale(factor):.7g}"
    remedies = {
        SGLANG: f"for SGLang write attn_factor {multiplier} (= attention_factor / m(s))",
        LLAMA_CPP: f"for llama.cpp --override-kv {OVERRIDE}=float:{multiplier}",
    }
    yield Sighting(
        engines,
        f"attention_factor {number(stated)} replaces the computed magnitude in transformers and "
        f"vLLM; not here: {evidence.factors(engines)}",
        "; ".join(text for name, text in remedies.items() if name in engines),
    )


@error(
    "attn-factor",
    "attn_factor multiplies in SGLang and is not read elsewhere (--yarn-attn-factor has no effect "
    "either)",
    "write attention_factor for transformers and vLLM, attn_factor for SGLang",
)
def attn_factor(evidence: Evidence) -> Iterator[Sighting]:
    """Seen in the engines that compute another magnitude than the one that reads the key."""
    value, meant = evidence.number("attn_factor"), evidence.factor_of(SGLANG)
    if value in (None, 1) or meant is None or evidence.rope_type != "yarn":
        return
    yield Sighting(
        evidence.off_factor(meant),
        f"attn_factor {number(value or 0)} multiplies the computed magnitude in SGLang and is not "
        f"read elsewhere: {evidence.factors()}",
        "write the final magnitude as attention_factor for transformers and vLLM, and its "
        "quotient by m(s) as attn_factor for SGLang",
    )


@error(
    "one-mscale",
    "mscale or mscale_all_dim alone: ignored by transformers, used with a default partner for "
    "latent attention in vLLM and SGLang",
    "write both, or neither",
)
def one_mscale(evidence: Evidence) -> Iterator[Sighting]:
    given = [key for key in MSCALES if evidence.number(key)]
    if sum(evidence.has(key) for key in MSCALES) != 1 or not given:
        return
    meant = _defined(evidence)
    if meant is not None:
        apart = evidence.off_factor(meant)
        yield Sighting(
            apart or _with_factor(evidence),
            f"{given[0]} without its partner is ignored by transformers and used by some of the "
            f"others: {evidence.factors()}",
            severity=Severity.ERROR if apart else Severity.INFO,
        )


@error(
    "zero-mscale",
    "an mscale of 0 is absent in transformers and vLLM, given in SGLang; with latent attention "
    "given in vLLM too",
    "drop both keys",
)
def zero_mscale(evidence: Evidence) -> Iterator[Sighting]:
    pair, meant = [evidence.number(key) for key in MSCALES], _defined(evidence)
    if None not in pair and 0 in pair and meant is not None:
        yield Sighting(
            evidence.off_factor(meant),
            "an mscale of 0 means absent to some engines and is given to others: "
            f"{evidence.factors()}",
        )


def _defined(evidence: Evidence) -> float | None:
    """The attention factor that the mscales define: for latent attention m(s, mscale) over
    m(s, mscale_all_dim), 1 and 0 where they are absent, as DeepSeek's released code, vLLM and
    SGLang have it; else what transformers computes. None where nobody computes one."""
    latent = evidence.reading.latent and evidence.rope_type != "default"
    if not latent and evidence.rope_type != "yarn":
        return None
    computed = (
        evidence.factor_of(name) for name in ((VLLM, SGLANG) if latent else (TRANSFORMERS,))
    )
    return next((value for value in computed if value is not None), None)


@error(
    "mscale-pair-ignored",
    "llama.cpp does not read the mscale pair, or takes its members for equal (MLA)",
    f"--override-kv {OVERRIDE}=float:(wanted / computed)",
)
def pair_ignored(evidence: Evidence) -> Iterator[Sighting]:
    given = evidence.number("mscale") and evidence.number("mscale_all_dim")
    factors = _apart(evidence, LLAMA_CPP)
    if not given or evidence.rope_type != "yarn" or evidence.has("attention_factor") or not factors:
        return
    ours, theirs = factors
    latent = evidence.reading.latent
    why = "takes both for equal" if latent else "does not read the pair"
    yield Sighting(
        (LLAMA_CPP,),
        f"mscale and mscale_all_dim: llama.cpp {why}; attention factor {number(theirs)} instead "
        f"of {number(ours)}",
        "serve with another engine; an override of the factor changes the softmax scale too"
        if latent
        else f"--override-kv {OVERRIDE}=float:{ours / theirs:.7g}",
    )


@warning(
    "yarn-switches",
    "extrapolation_factor, apply_yarn_scaling, apply_scale: read by SGLang alone",
    "drop the key; for no magnitude write attention_factor 1.0",
)
def switches(evidence: Evidence) -> Iterator[Sighting]:
    if given := [key for key in _SWITCHES if evidence.has(key)]:
        yield Sighting(
            (TRANSFORMERS, VLLM, LLAMA_CPP),
            f"{', '.join(given)}: read by SGLang; transformers never did, vLLM no longer does "
            "(pull request 56446), llama.cpp does not hand it to the graph",
        )


@info(
    "attention-factor-squared",
    "attention_factor acts on cos and sin, so on logits with its square",
    "where a factor on the logits is meant, write its square root",
)
def squared(evidence: Evidence) -> Iterator[Sighting]:
    stated = evidence.number("attention_factor")
    if stated is not None and abs(stated - 1) >= 1e-9:
        read = (n for n in ENGINE_NAMES if "attention_factor" in evidence.answers[n].keys_read)
        yield Sighting(
            tuple(read),
            f"attention_factor {number(stated)} multiplies cos and sin, so the rotary part of "
            f"every logit is multiplied by its square, {number(stated**2)}",
        )


@info(
    "attention-factor-integer",
    "transformers warns about an integer attention_factor",
    'write it as a float: "attention_factor": 1.0',
)
def integer(evidence: Evidence) -> Iterator[Sighting]:
    value = evidence.reading.rope.get("attention_factor")
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and evidence.rope_type == "yarn":
        yield Sighting(
            (TRANSFORMERS,),
            f"attention_factor {value} is an integer; transformers warns and uses it",
            f'write "attention_factor": {value}.0',
        )


@info(
    "context-shift",
    "llama.cpp's context shift applies YaRN's magnitude again to shifted keys",
    "leave --context-shift off, as it is by default",
)
def context_shift(evidence: Evidence) -> Iterator[Sighting]:
    magnitude = evidence.factor_of(LLAMA_CPP)
    if magnitude is not None and evidence.rope_type == "yarn" and abs(magnitude - 1) >= SAME:
        yield Sighting(
            (LLAMA_CPP,),
            "a context shift turns cached keys again and multiplies them by the attention factor "
            f"{number(magnitude)} again, once a shift",
        )


KINDS = (
    *(ignored, attn_factor, one_mscale, zero_mscale, pair_ignored),
    *(switches, squared, integer, context_shift),
)
