"""Findings about rope_type dynamic."""

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Kind, Severity, Sighting, number
from ropewalk.engines.vllm.dynamic import TRAINED, inner_term, trained_positions
from ropewalk.engines.vllm.lengths import is_nomic, max_position
from ropewalk.engines.vllm.rules import through_transformers


def _factor(evidence: Evidence) -> float | None:
    """The factor of a dynamic type that is not Hunyuan's alpha."""
    if evidence.rope_type != "dynamic" or evidence.has("alpha") or evidence.reading.latent:
        return None
    return evidence.number("factor")


def _cache(evidence: Evidence) -> Sighting | None:
    if _factor(evidence) is None:
        return None
    reading = evidence.reading
    engines = (TRANSFORMERS, VLLM) if through_transformers(reading) else (TRANSFORMERS,)
    cached = (
        ""
        if is_nomic(reading)
        else " Cached keys keep the base they were written with, so that decoding differs from "
        "one full pass."
    )
    return Sighting(
        engines=engines,
        message=f"beyond {reading.longest:,} tokens the base follows the longest sequence of the "
        f"batch: results depend on batch mates and on earlier calls.{cached}",
    )


def _no_op(evidence: Evidence) -> Sighting | None:
    factor = _factor(evidence)
    if factor is None or not evidence.running(VLLM) or through_transformers(evidence.reading):
        return None
    position = max_position(evidence.reading)
    if inner_term(factor, position, trained_positions(evidence.reading, position)) != 1:
        return None
    return Sighting(
        engines=(VLLM,),
        message=f"the base stays rope_theta at any length: it is scaled by a P / T - (a - 1) with "
        f"P = {position:,} and T = {TRAINED}, which defaults to P (pull request 41277)",
        remedy=f'write "{TRAINED}" (the length of training) into the rope dict and '
        "max_position_embeddings for the served length; or use yarn",
    )


def _shrinks(evidence: Evidence) -> Sighting | None:
    factor = _factor(evidence)
    if factor is None or not evidence.running(VLLM) or through_transformers(evidence.reading):
        return None
    position = max_position(evidence.reading)
    trained = trained_positions(evidence.reading, position)
    inner = inner_term(factor, position, trained)
    if not inner < 1:
        return None
    return Sighting(
        engines=(VLLM,),
        message=f"P = {position:,} is below T = {trained:,}: the base is scaled by a power of "
        f"{number(inner)}, so that every pair turns faster than in training",
    )


def _constant(evidence: Evidence) -> Sighting | None:
    factor = _factor(evidence)
    if factor is None or factor == 1 or not evidence.running(SGLANG):
        return None
    inner = factor * factor - (factor - 1)
    return Sighting(
        engines=(SGLANG,),
        message=f"the base is stretched by {number(inner)}^(d/(d-2)) at every length, short ones "
        "too: the formula takes factor x max_position_embeddings for the length",
        remedy="for one fixed base write rope_theta and drop the scaling; or use yarn",
    )


def _dropped(evidence: Evidence) -> Sighting | None:
    if _factor(evidence) is None or not evidence.running(LLAMA_CPP):
        return None
    return Sighting(
        engines=(LLAMA_CPP,),
        message="the converter writes type none for every dynamic but Hunyuan's: nothing is "
        "scaled, and nothing is said",
    )


def _reference(evidence: Evidence) -> Sighting | None:
    reading = evidence.reading
    if _factor(evidence) is None:
        return None
    stated = [key for key in (ORIGINAL, TRAINED) if reading.rope.get(key) or reading.text.get(key)]
    if not stated:
        return None
    reads_trained = TRAINED in stated and (is_nomic(reading) or evidence.has(TRAINED))
    engines = (TRANSFORMERS, SGLANG) if reads_trained else (TRANSFORMERS, VLLM, SGLANG)
    return Sighting(
        engines=evidence.running(*engines),
        message=f"{' and '.join(stated)} not read: the base is stretched relative to "
        f"max_position_embeddings, {reading.longest:,}",
    )


def _alpha(evidence: Evidence) -> Sighting | None:
    if evidence.rope_type != "dynamic" or not evidence.has("alpha"):
        return None
    if evidence.reading.model_type.startswith("hunyuan"):
        return None
    return Sighting(
        engines=(TRANSFORMERS, LLAMA_CPP),
        message="alpha is read for every model by vLLM and SGLang, and for Hunyuan alone by "
        "transformers (which takes factor) and llama.cpp (which drops the scaling)",
    )


def _release(evidence: Evidence) -> Sighting | None:
    factor = _factor(evidence)
    if factor is None or factor == 1 or through_transformers(evidence.reading):
        return None
    inner = factor * factor - (factor - 1)
    rows = int(max_position(evidence.reading) * factor)
    return Sighting(
        engines=(VLLM,),
        message="releases before pull request 41277 stretched the base by "
        f"{number(inner)}^(d/(d-2)) at every length, with a table of {rows:,} rows",
    )


def _shared(evidence: Evidence) -> Sighting | None:
    layers = evidence.reading.text.get("rope_parameters")
    if not evidence.reading.nested or not isinstance(layers, dict):
        return None
    kinds = [layer.get("rope_type") for layer in layers.values() if isinstance(layer, dict)]
    if "dynamic" not in kinds:
        return None
    return Sighting(
        engines=(TRANSFORMERS,),
        message="when the dynamic layers grow, their attention scaling is written to one name "
        "shared by all layer types",
    )


KINDS = (
    Kind(
        id="dynamic-no-op",
        severity=Severity.ERROR,
        meaning="vLLM's dynamic scales nothing where max_trained_positions is not stated",
        remedy="write max_trained_positions into the rope dict; or use yarn",
        look=_no_op,
    ),
    Kind(
        id="dynamic-constant",
        severity=Severity.ERROR,
        meaning="SGLang's dynamic stretches the base by the same amount at every length",
        remedy="write the fixed rope_theta that is wanted; or use yarn",
        look=_constant,
    ),
    Kind(
        id="dynamic-dropped",
        severity=Severity.ERROR,
        meaning="llama.cpp has no dynamic (but for Hunyuan's alpha)",
        remedy="choose a length N and pass --rope-freq-base rope_theta x "
        "(s N / M - (s - 1))^(d/(d-2))",
        look=_dropped,
    ),
    Kind(
        id="dynamic-cache",
        severity=Severity.ERROR,
        meaning="transformers' dynamic depends on batch mates and earlier calls, and cached keys "
        "keep an older base",
        remedy="use a static type (linear, yarn), or rw.extend(model, 'dynamic_ntk'), which keeps "
        "keys un-rotated and knows each row's own length",
        look=_cache,
    ),
    Kind(
        id="dynamic-below-trained",
        severity=Severity.ERROR,
        meaning="vLLM serves a length below max_trained_positions with a smaller base",
        remedy="serve at least max_trained_positions tokens, or drop the scaling",
        look=_shrinks,
    ),
    Kind(
        id="dynamic-alpha",
        severity=Severity.ERROR,
        meaning="alpha is read for every model by vLLM and SGLang, for Hunyuan alone elsewhere",
        remedy="write rope_theta x alpha^(d/(d-2)) as rope_theta and drop the scaling",
        look=_alpha,
    ),
    Kind(
        id="dynamic-reference-length",
        severity=Severity.WARNING,
        meaning="dynamic refers to max_position_embeddings, whatever the other lengths say",
        remedy="write the trained length as max_position_embeddings",
        look=_reference,
    ),
    Kind(
        id="dynamic-release",
        severity=Severity.INFO,
        meaning="vLLM before pull request 41277 computed another base and a longer table",
        remedy="compare results of the same vLLM release only",
        look=_release,
    ),
    Kind(
        id="dynamic-shared-magnitude",
        severity=Severity.INFO,
        meaning="transformers stores the attention scaling of dynamic layers for all layer types",
        remedy="use a static type for all layer types",
        look=_shared,
    ),
)
