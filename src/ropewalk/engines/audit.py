"""The audit of a config: four answers and what is to be said about them."""

from typing import Any

from ropewalk.configs.shape import ModelShape
from ropewalk.engines.answer import EngineAnswer, TwoTables
from ropewalk.engines.findings.finding import Evidence, Finding
from ropewalk.engines.findings.table import findings
from ropewalk.engines.reading import Reading
from ropewalk.engines.table import ENGINES


def audit_model(
    shape: ModelShape, served_length: int | None = None, layer_type: str | None = None
) -> dict[str, Any]:
    """What each engine computes for a model, and where they differ, as a document.

    served_length  tokens: vLLM --max-model-len, llama.cpp n_ctx, SGLang and transformers the
                   longest sequence of a call; None: what each engine takes by default
    layer_type     for configs whose layer types differ; None reads "full_attention"

    Returns ``{"engines": {name: {...}}, "findings": [...]}``, JSON-serialisable but for
    infinities. Raises RopewalkError for a config or a length that no engine could be asked about.
    """
    reading = Reading.of(shape, served_length, layer_type)
    answers = {name: rule(reading) for name, rule in ENGINES.items()}
    evidence = Evidence.of(reading, answers)
    found = findings(evidence)
    reference = next((name for name, theta in evidence.inv_freq.items() if theta is not None), None)
    return {
        "engines": {
            name: {
                **_engine(answer, evidence.inv_freq[name]),
                "inv_freq_difference": reference and evidence.difference(name, reference),
            }
            for name, answer in answers.items()
        },
        "findings": [_finding(finding) for finding in found],
    }


def _engine(answer: EngineAnswer, inv_freq: tuple[float, ...] | None) -> dict[str, Any]:
    return {
        "version": answer.version,
        "inv_freq": _listed(inv_freq),
        "inv_freq_short": _listed(answer.inv_freq_short),
        "inv_freq_long": _listed(answer.inv_freq_long),
        "attention_factor": answer.attention_factor,
        "softmax_scale_multiplier": answer.softmax_scale_multiplier,
        "table_rows": _rows(answer.table_rows),
        "table_dtype": answer.table_dtype,
        "max_length": answer.max_length,
        "choice": answer.choice,
        "pairing": answer.pairing,
        "keys_read": sorted(answer.keys_read),
        "error": answer.error,
        "notes": list(answer.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": finding.severity.name.lower(),
        "engines": list(finding.engines),
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _rows(rows: int | TwoTables | None) -> int | dict[str, int] | None:
    return {"short": rows.short, "long": rows.long} if isinstance(rows, TwoTables) else rows


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
