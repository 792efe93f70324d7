"""The audit of a GGUF file: what llama.cpp makes of its header, and who else can load it."""

from typing import Any

from ropewalk.configs.gguf import GGUFHeader, dropped_scaling
from ropewalk.configs.shape import ModelShape
from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS, VLLM, EngineAnswer
from ropewalk.engines.audit import plain_answer, plain_finding
from ropewalk.engines.findings.files import FileEvidence, file_findings, reading_of
from ropewalk.engines.llama_cpp.file import File, llama_cpp_file
from ropewalk.engines.ollama.release import NAME as OLLAMA
from ropewalk.engines.ollama.release import ollama_file
from ropewalk.engines.reading import Reading
from ropewalk.engines.table import ENGINES, VERSIONS


def audit_file(
    header: GGUFHeader,
    shape: ModelShape,
    served_length: int | None = None,
    against: ModelShape | None = None,
) -> dict[str, Any]:
    """What engines compute for a .gguf file, as the document of ``audit_model``.

    shape          the same header in the keys of a config
    served_length  tokens of a slot; None for n_ctx_train
    against        the model that the file was converted from

    Raises RopewalkError for a header that states no rotation, and as ``audit_model`` does.
    """
    answer = llama_cpp_file(header, served_length)
    evidence = FileEvidence(
        header=header, answer=answer, meant=reading_of(against, served_length, header)
    )
    answers = {
        TRANSFORMERS: _loaded(TRANSFORMERS, header, shape, served_length),
        VLLM: _without_numbers(VLLM, header, f"cannot load: {VERSIONS[VLLM]} has no GGUF loader"),
        SGLANG: _loaded(SGLANG, header, shape, served_length),
        LLAMA_CPP: answer,
    }
    return {
        "engines": {name: _beside(each, answer) for name, each in answers.items()},
        "findings": [plain_finding(finding) for finding in file_findings(evidence)],
        "readers": {
            OLLAMA: {**_beside(ollama_file(header, served_length), answer), "findings": []}
        },
    }


def _beside(found: EngineAnswer, reference: EngineAnswer) -> dict[str, Any]:
    return {**plain_answer(found), "inv_freq_difference": found.difference(reference)}


def _loaded(
    name: str, header: GGUFHeader, shape: ModelShape, served_length: int | None
) -> EngineAnswer:
    """An engine that takes its config through transformers' reader of GGUF files."""
    if (dropped := dropped_scaling(header)) is not None:
        return _without_numbers(name, header, f"drops the scaling of the file ({dropped})")
    return ENGINES[name](Reading.of(shape, served_length))


def _without_numbers(name: str, header: GGUFHeader, reason: str) -> EngineAnswer:
    return EngineAnswer(
        engine=name,
        version=VERSIONS[name],
        error=reason if reason.startswith("cannot load") else None,
        notes=(reason,),
        table_dtype="none",
        choice="none",
        pairing=File(header=header).pairing,
    )
