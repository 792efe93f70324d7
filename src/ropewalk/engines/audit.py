"""The audit of a config: four answers and what is to be said about them."""

from typing import Any

from ropewalk.configs.shape import ModelShape
from ropewalk.engines.answer import TRANSFORMERS, EngineAnswer, TwoTables
from ropewalk.engines.findings.finding import Evidence, Finding
from ropewalk.engines.findings.readers import ReaderEvidence, reader_findings
from ropewalk.engines.findings.table import findings
from ropewalk.engines.readers import READER_VERSIONS, READERS
from ropewalk.engines.reading import Reading
from ropewalk.engines.table import ENGINES, VERSIONS


def audit_model(
    shape: ModelShape, served_length: int | None = None, layer_type: str | None = None
) -> dict[str, Any]:
    """What each engine computes for a model, and where they differ, as a document.

    served_length  tokens: vLLM --max-model-len, llama.cpp n_ctx, SGLang and transformers the
                   longest sequence of a call; None: what each engine takes by default
    layer_type     for configs whose layer types differ; None reads "full_attention"

    Returns ``{"engines": {name: {...}}, "findings": [...], "readers": {name: {...}}}``,
    JSON-serialisable but for infinities; a reader has ``findings`` of its own. Where no layer
    rotates, ``inv_freq`` is empty everywhere and ``reason`` says why. Raises RopewalkError for a
    config or a length that no engine could be asked about.
    """
    if shape.without_rotation is not None:
        return _without_rotation(shape.without_rotation)
    reading = Reading.of(shape, served_length, layer_type)
    answers = {name: rule(reading) for name, rule in ENGINES.items()}
    evidence = Evidence(reading=reading, answers=answers)
    reference = next((name for name, a in answers.items() if a.inv_freq is not None), None)
    return {
        "engines": {
            name: {
                **plain_answer(answer),
                "inv_freq_difference": reference and evidence.difference(name, reference),
            }
            for name, answer in answers.items()
        },
        "findings": [plain_finding(finding) for finding in findings(evidence)],
        "readers": _readers(reading, answers[reference or TRANSFORMERS]),
    }


def _readers(reading: Reading, reference: EngineAnswer) -> dict[str, Any]:
    """Ollama and MLX-LM, each with its own findings."""
    answers = {name: rule(reading) for name, rule in READERS.items()}
    evidence = ReaderEvidence(reading=reading, answers=answers, reference=reference)
    found = reader_findings(evidence)
    return {
        name: {
            **plain_answer(answer),
            "inv_freq_difference": evidence.difference(name),
            "findings": [plain_finding(each) for each in found if name in each.engines],
        }
        for name, answer in answers.items()
    }


def plain_answer(answer: EngineAnswer) -> dict[str, Any]:
    """An answer as JSON has it."""
    return {field: _plain(getattr(answer, field)) for field in _FIELDS}


def _without_rotation(reason: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"inv_freq_difference": None, "inv_freq": [], "keys_read": []}
    answer, notes = {**dict.fromkeys(_FIELDS), **empty}, [f"nothing rotates: {reason}"]
    return {
        "reason": reason,
        "engines": {
            name: {**answer, "version": VERSIONS[name], "notes": notes} for name in ENGINES
        },
        "findings": [],
        "readers": {
            name: {
                **answer,
                "version": version,
                "findings": [],
                "notes": [f"nothing rotates: {reason}"],
            }
            for name, version in READER_VERSIONS.items()
        },
    }


_FIELDS = (
    *("version", "inv_freq", "inv_freq_short", "inv_freq_long", "attention_factor"),
    *("softmax_scale_multiplier", "table_rows", "table_dtype", "max_length", "choice", "pairing"),
    *("keys_read", "error", "notes"),
)


def _plain(value: object) -> object:
    """A value of an answer as JSON has it."""
    match value:
        case TwoTables():
            return {"short": value.short, "long": value.long}
        case frozenset():
            return sorted(value)
        case tuple():
            return list(value)
    return value


def plain_finding(finding: Finding) -> dict[str, Any]:
    """A finding as JSON has it."""
    return {
        "id": finding.id,
        "severity": finding.severity.name.lower(),
        "engines": list(finding.engines),
        "message": finding.message,
        "remedy": finding.remedy,
    }
