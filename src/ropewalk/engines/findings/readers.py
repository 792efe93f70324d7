"""READER_FINDINGS: where Ollama and MLX-LM compute something else than transformers does."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.findings.finding import (
    SAME,
    Finding,
    Kind,
    Severity,
    Sighting,
    number,
)
from ropewalk.engines.findings.keys import theta_is_stated
from ropewalk.engines.mlx_lm.release import NAME as MLX_LM
from ropewalk.engines.mlx_lm.rules import CACHED, LONG_ALWAYS
from ropewalk.engines.ollama.release import CONTEXT_LENGTHS
from ropewalk.engines.ollama.release import NAME as OLLAMA
from ropewalk.engines.reading import Reading

_UNSUPPORTED = ("unsupported architecture", "not supported.")
_UNSTATED = "the config states none, and this is its file's own default"
_GGUF = "convert with llama.cpp's converter, and write FROM model.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderEvidence:
    """A config and what each reader computes for it.

    reference  the answer of the first engine that has any frequencies; transformers' but where it
               has no class of the model
    """

    reading: Reading
    answers: Mapping[str, EngineAnswer]
    reference: EngineAnswer

    def difference(self, name: str) -> float | None:
        """Largest relative difference of a frequency from the reference's."""
        return self.answers[name].difference(self.reference)

    def other_base(self, name: str) -> float | None:
        """The base of a reader that takes another than the reference's, else None."""
        ours, theirs = self.reference.encoding, self.answers[name].encoding
        if ours is None or theirs is None:
            return None
        base = theirs.geometry.rope_theta
        return None if base == ours.geometry.rope_theta else base


Look = Callable[[ReaderEvidence], Iterator[Sighting]]


def raises(evidence: ReaderEvidence) -> Iterator[Sighting]:
    for name, answer in evidence.answers.items():
        if answer.error is not None:
            loads = any(word in answer.error for word in _UNSUPPORTED)
            remedy = _GGUF if name == OLLAMA else "serve the model with another engine"
            yield Sighting(
                (name,),
                f"{'cannot load the folder' if loads else 'raises on this config'}: {answer.error}",
                remedy if loads or name == OLLAMA else None,
                Severity.WARNING if loads else None,
            )


def base(evidence: ReaderEvidence) -> Iterator[Sighting]:
    for name in evidence.answers:
        found = evidence.other_base(name)
        if found is not None:
            theta = evidence.reading.section.rope_theta
            stated = theta_is_stated(evidence.reading)
            why = "its file does not read the key that states it" if stated else _UNSTATED
            yield Sighting(
                (name,),
                f"the base is {number(found)}, not {number(theta)}: {why}",
                f'write "rope_theta": {theta:g} beside the rope dict',
            )


def frequencies(evidence: ReaderEvidence) -> Iterator[Sighting]:
    for name, answer in evidence.answers.items():
        difference = evidence.difference(name)
        if difference is None:
            if answer.inv_freq is not None and evidence.reference.inv_freq is not None:
                yield Sighting(
                    (name,),
                    f"{len(answer.inv_freq)} pairs turn, not {len(evidence.reference.inv_freq)}",
                )
        elif difference >= SAME and evidence.other_base(name) is None:
            read = ", ".join(sorted(answer.keys_read)) or "none"
            kind = evidence.reading.written_type
            yield Sighting(
                (name,),
                f"frequencies are up to {100 * difference:.3g} % off those of "
                f"{evidence.reference.engine}; of the rope dict ({kind}) it reads {read}",
                _GGUF if name == OLLAMA else None,
            )


def factors(evidence: ReaderEvidence) -> Iterator[Sighting]:
    for what in ("attention_factor", "softmax_scale_multiplier"):
        meant = getattr(evidence.reference, what)
        for name, answer in evidence.answers.items():
            found = getattr(answer, what)
            if meant is not None and found is not None and abs(found - meant) > SAME * meant:
                yield Sighting(
                    (name,),
                    f"{what} is {number(found)}, in {evidence.reference.engine} {number(meant)}",
                    _GGUF if name == OLLAMA else None,
                )


def one_list(evidence: ReaderEvidence) -> Iterator[Sighting]:
    if LONG_ALWAYS in evidence.answers[MLX_LM].notes:
        yield Sighting(
            (MLX_LM,),
            f"{LONG_ALWAYS}; prompts of up to {evidence.reading.original:,} tokens turn by the "
            "wrong one",
        )


def cache(evidence: ReaderEvidence) -> Iterator[Sighting]:
    if CACHED in evidence.answers[MLX_LM].notes:
        yield Sighting((MLX_LM,), f"{CACHED}: decoding differs from one full pass")


def num_ctx(evidence: ReaderEvidence) -> Iterator[Sighting]:
    answer, served = evidence.answers[OLLAMA], evidence.reading.served_length
    if answer.max_length is None:
        return
    if served is None:
        *less, most = (f"{tokens:,}" for tokens in CONTEXT_LENGTHS)
        yield Sighting(
            (OLLAMA,),
            f"without num_ctx a slot has {', '.join(less)} or {most} tokens, by the memory of the "
            "GPUs (below 23 GiB, below 47, above): a longer prompt loses its middle or is refused",
            f"PARAMETER num_ctx {answer.max_length}",
            Severity.INFO,
        )
    elif served > answer.max_length:
        yield Sighting(
            (OLLAMA,),
            f"num_ctx {served:,} is lowered to the file's {answer.max_length:,} without an error",
            f'write "max_position_embeddings": {served} before the conversion',
        )


def _kind(
    severity: Severity, id: str, meaning: str, remedy: str, look: Look
) -> Kind[ReaderEvidence]:
    return Kind(id=id, severity=severity, meaning=meaning, remedy=remedy, look=look)


READER_FINDINGS = (
    _kind(
        Severity.ERROR,
        "reader-raises",
        "Ollama or MLX-LM raises on the config, or has no file for the model",
        "correct the key that the error names",
        raises,
    ),
    _kind(
        Severity.ERROR,
        "reader-base",
        "Ollama or MLX-LM takes another base, for its file reads rope_theta elsewhere",
        "write rope_theta beside the rope dict",
        base,
    ),
    _kind(
        Severity.ERROR,
        "reader-frequencies",
        "Ollama or MLX-LM computes other frequencies",
        "serve the model with another engine",
        frequencies,
    ),
    _kind(
        Severity.ERROR,
        "reader-factor",
        "Ollama or MLX-LM computes another attention factor or softmax multiplier",
        "serve the model with another engine",
        factors,
    ),
    _kind(
        Severity.WARNING,
        "long-list-always",
        "MLX-LM takes LongRoPE's long list at every length",
        "short prompts with another engine",
        one_list,
    ),
    _kind(
        Severity.WARNING,
        "reader-cache",
        "MLX-LM's dynamic base grows under a cache that keeps the old one",
        "use a static type (linear, yarn)",
        cache,
    ),
    _kind(
        Severity.WARNING,
        "num-ctx",
        "Ollama serves num_ctx tokens, never more than the file states",
        "PARAMETER num_ctx N in the Modelfile",
        num_ctx,
    ),
)


def reader_findings(evidence: ReaderEvidence) -> tuple[Finding, ...]:
    """All that the readers show, in order of harm."""
    found = [finding for kind in READER_FINDINGS for finding in kind.findings(evidence)]
    return tuple(sorted(found, key=lambda finding: finding.severity))
