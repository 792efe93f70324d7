"""FILE_FINDINGS: what a GGUF file's own header shows, and what its conversion lost."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ropewalk.configs import gguf_graphs as graphs
from ropewalk.configs.gguf import GGUFHeader, dropped_scaling
from ropewalk.configs.shape import ModelShape
from ropewalk.engines.answer import (
    ENGINE_NAMES,
    LLAMA_CPP,
    SGLANG,
    TRANSFORMERS,
    EngineAnswer,
)
from ropewalk.engines.findings.finding import SAME, Finding, Kind, Severity, Sighting, number
from ropewalk.engines.llama_cpp.file import SCALING, File
from ropewalk.engines.llama_cpp.release import llama_cpp
from ropewalk.engines.reading import Reading
from ropewalk.engines.transformers.release import transformers_5_23
from ropewalk.methods.sidecar import SIDECAR, read_sidecar

_BETAS = (f"{SCALING}yarn_beta_fast", f"{SCALING}yarn_beta_slow")
_EXT = (f"{SCALING}yarn_ext_factor", f"{SCALING}yarn_attn_factor")
_LOG = (f"{SCALING}yarn_log_multiplier",)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEvidence:
    """A header and what llama.cpp computes for it.

    meant  the model that the file was converted from, and the length served; None for unknown
    """

    header: GGUFHeader
    answer: EngineAnswer
    meant: Reading | None

    @property
    def file(self) -> File:
        return File(header=self.header)

    def names(self, keys: tuple[str, ...]) -> str:
        """Those of ``keys`` that are stated, as text."""
        return ", ".join(f"{k} {self.header.fields[k]}" for k in keys if k in self.header.fields)


def cannot_load(evidence: FileEvidence) -> Iterator[Sighting]:
    if evidence.answer.error is not None:
        yield Sighting((LLAMA_CPP,), f"the loader raises {evidence.answer.error}")


def unstated_type(evidence: FileEvidence) -> Iterator[Sighting]:
    file = evidence.file
    if file.stated_type is None and file.factor != 1:
        key = f"{SCALING}factor" if f"{SCALING}factor" in evidence.header.fields else None
        yield Sighting(
            (LLAMA_CPP,),
            f"{key or 'rope.scale_linear, the old key,'} {number(file.factor)} and no "
            f"{SCALING}type: every pair turns {number(file.factor)} times slower (linear)",
        )


def without_lists(evidence: FileEvidence) -> Iterator[Sighting]:
    lists = [name for name in evidence.header.factors if name != "rope_freqs"]
    if evidence.file.stated_type == "longrope" and len(lists) < 2:
        there = f"{lists[0]}.weight alone" if lists else "no list"
        yield Sighting(
            (LLAMA_CPP,), f"type longrope with {there}: without its list a slot turns unscaled"
        )


def unread_keys(evidence: FileEvidence) -> Iterator[Sighting]:
    architecture = evidence.header.architecture
    unread = (
        *(_BETAS if architecture not in graphs.READS_BETAS else ()),
        *(_EXT if architecture not in graphs.READS_EXT_FACTOR else ()),
        *(_LOG if architecture not in graphs.READS_LOG_MULTIPLIER else ()),
    )
    if stated := evidence.names(unread):
        yield Sighting((LLAMA_CPP,), f"the loader of {architecture} does not read {stated}")


def dropped(evidence: FileEvidence) -> Iterator[Sighting]:
    if (name := dropped_scaling(evidence.header)) is not None:
        yield Sighting(
            (TRANSFORMERS, SGLANG),
            f"{name}: transformers' table of GGUF keys, through which SGLang loads too, has no "
            "place for it, and plain RoPE is computed",
        )


def lost(evidence: FileEvidence) -> Iterator[Sighting]:
    meant, found = evidence.meant, evidence.answer
    if meant is None or found.inv_freq is None or found.attention_factor is None:
        return
    asked = transformers_5_23(meant)
    if asked.inv_freq is None or asked.attention_factor is None:
        return
    difference = found.difference(asked)
    off = math.inf if difference is None else difference  # not as many pairs
    ratio = found.attention_factor / asked.attention_factor
    if off <= SAME and abs(ratio - 1) <= SAME:
        return
    rotation = (
        f"{2 * len(found.inv_freq)} channels turn, the config turns {2 * len(asked.inv_freq)}"
        if math.isinf(off)
        else f"frequencies are up to {100 * off:.3g} % off"
    )
    said = [rotation] if off > SAME else []
    if abs(ratio - 1) > SAME:
        said.append(
            f"the attention factor is {number(found.attention_factor)}, the config means "
            f"{number(asked.attention_factor)}"
        )
    yield Sighting(
        (LLAMA_CPP,),
        f"{' and '.join(said)} ({'; '.join(_causes(evidence, meant)) or 'other keys'})",
        _again(evidence, meant, asked),
    )


def _causes(evidence: FileEvidence, meant: Reading) -> Iterator[str]:
    """What the config says and the header does not."""
    rope_type, file = meant.section.rope_type, evidence.file
    factors, fields = evidence.header.factors, evidence.header.fields
    if rope_type == "longrope" and len(factors) < 2:
        yield "the file has no rope_factors_short and rope_factors_long"
    if rope_type == "llama3" and "rope_freqs" not in factors:
        yield "the file has no rope_freqs.weight"
    if rope_type in ("linear", "yarn") and file.stated_type != rope_type:
        yield f"{SCALING}type is {file.stated_type or 'not stated'}, the config says {rope_type}"
    if rope_type in ("linear", "yarn") and file.factor != (meant.number("factor") or 1.0):
        yield f"the factor is {number(file.factor)}, the config says {meant.number('factor')}"
    if rope_type in ("dynamic", "proportional", "ntk") and not factors:
        yield f"the converter drops rope_type {rope_type}"
    base = fields.get("rope.freq_base", 10_000.0)
    if not math.isclose(base, meant.section.rope_theta, rel_tol=1e-6):
        yield f"the base is {number(base)}, the config says {number(meant.section.rope_theta)}"
    for key in ("attention_factor", "beta_fast", "beta_slow", "mscale"):
        if meant.rope.get(key) is not None:
            yield f"{key} of the config has no key that the graph reads"


def _again(evidence: FileEvidence, meant: Reading, asked: EngineAnswer) -> str:
    """Convert again where today's converter is right, else write a new file."""
    written = llama_cpp(meant)
    off = written.difference(asked)
    right = (
        off is not None
        and off <= SAME
        and written.attention_factor is not None
        and abs(written.attention_factor - (asked.attention_factor or 1.0)) <= SAME
    )
    if right:
        return f"convert again with llama.cpp {written.version}, which writes it"
    return (
        "converting again does not help; ropewalk export FILE.gguf --method SPEC --engine "
        "llama.cpp --out NEW.gguf writes what the config means, where the graph can say it"
    )


def other_length(evidence: FileEvidence) -> Iterator[Sighting]:
    meant, stated = evidence.meant, evidence.header.fields.get("context_length")
    if meant is not None and stated != meant.longest:
        yield Sighting(
            (LLAMA_CPP,), f"context_length is {stated}, the config says {meant.longest:,} tokens"
        )


def reading_of(
    shape: ModelShape | None, served_length: int | None, header: GGUFHeader
) -> Reading | None:
    """The model a file was converted from, at the length that the file is served at."""
    if shape is None:
        return None
    served = served_length or File(header=header).trained_context
    return Reading.of(shape, served)


FILE_FINDINGS = (
    Kind(
        id="gguf-cannot-load",
        severity=Severity.ERROR,
        meaning="llama.cpp's loader raises on the file's header or tensors",
        remedy="convert again; an architecture that loads no such tensor takes keys alone",
        look=cannot_load,
    ),
    Kind(
        id="lost-in-conversion",
        severity=Severity.ERROR,
        meaning="a .gguf file computes another rotation than the config it was converted from "
        "(--against)",
        remedy="convert again",
        look=lost,
    ),
    Kind(
        id="gguf-without-lists",
        severity=Severity.ERROR,
        meaning="a .gguf file of type longrope lacks a list of factors",
        remedy="convert again from the config, with a release that writes the lists",
        look=without_lists,
    ),
    Kind(
        id="gguf-type-unstated",
        severity=Severity.WARNING,
        meaning="a .gguf file states a factor and no type, which is linear",
        remedy="write rope.scaling.type linear, or none where no scaling is meant",
        look=unstated_type,
    ),
    Kind(
        id="gguf-unread-key",
        severity=Severity.WARNING,
        meaning="a key of YaRN that the architecture's loader does not read",
        remedy="give it as a flag: --yarn-beta-fast, --yarn-beta-slow, --yarn-ext-factor; for the "
        "magnitude set rope.scaling.attn_factor",
        look=unread_keys,
    ),
    Kind(
        id="gguf-dropped-elsewhere",
        severity=Severity.WARNING,
        meaning="transformers and SGLang drop the scaling of a .gguf file",
        remedy="serve the file with llama.cpp, or the safetensors folder with them",
        look=dropped,
    ),
    Kind(
        id="gguf-length",
        severity=Severity.INFO,
        meaning="a .gguf file states another length than the config (--against)",
        remedy="-c, with --override-kv ARCH.context_length=int:N",
        look=other_length,
    ),
)


def method_beside(method: str, file: str) -> Finding:
    """Of a checkpoint folder that states a method in a file of ours beside its config."""
    return Finding(
        id="method-beside",
        severity=Severity.ERROR,
        engines=ENGINE_NAMES,
        message=f"{file} states {method}, with which the checkpoint was saved: no engine reads "
        "that file, and each computes what config.json says",
        remedy="rw.load(folder), or ropewalk export --method native for what an engine can say",
    )


def methods_beside(place: Path) -> list[Finding]:
    """Of a checkpoint folder, or of the config in one, whose method no engine reads."""
    own = read_sidecar(place if place.is_dir() else place.parent)
    return [] if own is None else [method_beside(own.text, SIDECAR)]


def file_findings(evidence: FileEvidence) -> tuple[Finding, ...]:
    """All that a file shows, in order of harm."""
    found = [finding for kind in FILE_FINDINGS for finding in kind.findings(evidence)]
    return tuple(sorted(found, key=lambda finding: finding.severity))
