"""Findings about rope_type dynamic."""

from collections.abc import Iterator

from ropewalk.configs.keys import ORIGINAL
from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM
from ropewalk.engines.findings.finding import Evidence, Sighting, error, info, number, warning
from ropewalk.engines.vllm.dynamic import TRAINED, inner_term, trained_positions
from ropewalk.engines.vllm.lengths import is_nomic, max_position


def _factor(evidence: Evidence) -> float | None:
    """The factor of a dynamic type that is not Hunyuan's alpha."""
    if evidence.rope_type != "dynamic" or evidence.has("alpha") or evidence.reading.latent:
        return None
    return evidence.number("factor")


def _vllm_terms(evidence: Evidence) -> tuple[float, int, int] | None:
    """The inner term, P and T of vLLM's own rule, where that is what runs."""
    factor = _factor(evidence)
    if factor is None or not evidence.running(VLLM) or evidence.in_vllms_backend:
        return None
    position = max_position(evidence.reading)
    trained = trained_positions(evidence.reading, position)
    return inner_term(factor, position, trained), position, trained


def _constant_term(factor: float) -> str:
    """a a - (a - 1), the stretch at every length."""
    return number(factor * factor - (factor - 1))


@error(
    "dynamic-no-op",
    "vLLM's dynamic scales nothing where max_trained_positions is not stated",
    "write max_trained_positions into the rope dict; or use yarn",
)
def no_op(evidence: Evidence) -> Iterator[Sighting]:
    terms = _vllm_terms(evidence)
    if terms is not None and terms[0] == 1:
        yield Sighting(
            (VLLM,),
            "the base stays rope_theta at any length: it is scaled by a P / T - (a - 1) with "
            f"P = {terms[1]:,} and T = {TRAINED}, which defaults to P (pull request 41277)",
            f'write "{TRAINED}" (the length of training) into the rope dict and '
            "max_position_embeddings for the served length; or use yarn",
        )


@error(
    "dynamic-constant",
    "SGLang's dynamic stretches the base by the same amount at every length",
    "write the fixed rope_theta that is wanted; or use yarn",
)
def constant(evidence: Evidence) -> Iterator[Sighting]:
    factor = _factor(evidence)
    if factor is not None and factor != 1:
        yield Sighting(
            evidence.running(SGLANG),
            f"the base is stretched by {_constant_term(factor)}^(d/(d-2)) at every length, short "
            "ones too: the formula takes factor x max_position_embeddings for the length",
            "for one fixed base write rope_theta and drop the scaling; or use yarn",
        )


@error(
    "dynamic-dropped",
    "llama.cpp has no dynamic (but for Hunyuan's alpha)",
    "choose a length N and pass --rope-freq-base rope_theta x (s N / M - (s - 1))^(d/(d-2))",
)
def dropped(evidence: Evidence) -> Iterator[Sighting]:
    if _factor(evidence) is not None:
        yield Sighting(
            evidence.running(LLAMA_CPP),
            "the converter writes type none for every dynamic but Hunyuan's: nothing is scaled, "
            "and nothing is said",
        )


@error(
    "dynamic-cache",
    "transformers' dynamic depends on batch mates and earlier calls, and cached keys keep an "
    "older base",
    "use a static type (linear, yarn), or rw.extend(model, 'dynamic_ntk'), which keeps keys "
    "un-rotated and knows each row's own length",
)
def cache(evidence: Evidence) -> Iterator[Sighting]:
    if _factor(evidence) is not None:
        reading = evidence.reading
        cached = (
            ""
            if is_nomic(reading)
            else " Cached keys keep the base they were written with, so that decoding differs "
            "from one full pass."
        )
        yield Sighting(
            evidence.library,
            f"beyond {reading.longest:,} tokens the base follows the longest sequence of the "
            f"batch: results depend on batch mates and on earlier calls.{cached}",
        )


@error(
    "dynamic-below-trained",
    "vLLM serves a length below max_trained_positions with a smaller base",
    "serve at least max_trained_positions tokens, or drop the scaling",
)
def below_trained(evidence: Evidence) -> Iterator[Sighting]:
    terms = _vllm_terms(evidence)
    if terms is not None and terms[0] < 1:
        inner, position, trained = terms
        yield Sighting(
            (VLLM,),
            f"P = {position:,} is below T = {trained:,}: the base is scaled by a power of "
            f"{number(inner)}, so that every pair turns faster than in training",
        )


@error(
    "dynamic-alpha",
    "alpha is read for every model by vLLM and SGLang, for Hunyuan alone elsewhere",
    "write rope_theta x alpha^(d/(d-2)) as rope_theta and drop the scaling",
)
def alpha(evidence: Evidence) -> Iterator[Sighting]:
    hunyuan = evidence.reading.model_type.startswith("hunyuan")
    if evidence.rope_type == "dynamic" and evidence.has("alpha") and not hunyuan:
        yield Sighting(
            (TRANSFORMERS, LLAMA_CPP),
            "alpha is read for every model by vLLM and SGLang, and for Hunyuan alone by "
            "transformers (which takes factor) and llama.cpp (which drops the scaling)",
        )


@warning(
    "dynamic-reference-length",
    "dynamic refers to max_position_embeddings, whatever the other lengths say",
    "write the trained length as max_position_embeddings",
)
def reference_length(evidence: Evidence) -> Iterator[Sighting]:
    reading = evidence.reading
    stated = [key for key in (ORIGINAL, TRAINED) if reading.rope.get(key) or reading.text.get(key)]
    if _factor(evidence) is not None and stated:
        reads_trained = TRAINED in stated and (is_nomic(reading) or evidence.has(TRAINED))
        engines = (TRANSFORMERS, SGLANG) if reads_trained else (TRANSFORMERS, VLLM, SGLANG)
        yield Sighting(
            evidence.running(*engines),
            f"{' and '.join(stated)} not read: the base is stretched relative to "
            f"max_position_embeddings, {reading.longest:,}",
        )


@info(
    "dynamic-release",
    "vLLM before pull request 41277 computed another base and a longer table",
    "compare results of the same vLLM release only",
)
def release(evidence: Evidence) -> Iterator[Sighting]:
    factor = _factor(evidence)
    if factor is not None and factor != 1 and not evidence.in_vllms_backend:
        rows = int(max_position(evidence.reading) * factor)
        yield Sighting(
            (VLLM,),
            f"releases before pull request 41277 stretched the base by {_constant_term(factor)}"
            f"^(d/(d-2)) at every length, with a table of {rows:,} rows",
        )


@info(
    "dynamic-shared-magnitude",
    "transformers stores the attention scaling of dynamic layers for all layer types",
    "use a static type for all layer types",
)
def shared_magnitude(evidence: Evidence) -> Iterator[Sighting]:
    layers = evidence.reading.text.get("rope_parameters")
    if evidence.reading.nested and isinstance(layers, dict):
        kinds = [layer.get("rope_type") for layer in layers.values() if isinstance(layer, dict)]
        if "dynamic" in kinds:
            yield Sighting(
                (TRANSFORMERS,),
                "when the dynamic layers grow, their attention scaling is written to one name "
                "shared by all layer types",
            )


KINDS = (
    *(no_op, constant, dropped, cache, below_trained, alpha),
    *(reference_length, release, shared_magnitude),
)
