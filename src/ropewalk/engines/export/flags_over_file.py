"""Flags over a .gguf file as it lies there, whose tensors stay whatever the flags say."""

import shlex
from typing import Any

from ropewalk.configs.gguf import GGUFHeader, dropped_scaling
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import LLAMA_CPP, VLLM
from ropewalk.engines.export.check import NotTheSame
from ropewalk.engines.export.dialects import DIALECTS
from ropewalk.engines.export.document import about, export_model, requested
from ropewalk.engines.export.gguf import GGUFEdit, compared
from ropewalk.engines.llama_cpp.flags import SCALING_FLAGS
from ropewalk.engines.llama_cpp.release import VERSION
from ropewalk.methods.spec import NATIVE, parse_spec


def export_over_file(
    header: GGUFHeader, shape: ModelShape, spec: str, engine: str, *, length: int | None = None
) -> dict[str, Any]:
    """As ``export_model``; ``native`` on llama.cpp is the file as it lies there.

    shape  the same header in the keys of a config

    Raises RopewalkError as ``export_model``, and where llama.cpp's flags would stack with
    divisors that the file holds.
    """
    if engine != LLAMA_CPP:
        document = export_model(shape, spec, engine, length=length)
        return {**document, "notes": [*document["notes"], _elsewhere(header, engine, document)]}
    as_it_lies = _as_it_lies(header, shape, spec, length)
    if as_it_lies is not None:
        return as_it_lies
    document = export_model(shape, spec, engine, length=length)
    stacking = [flag for flag in SCALING_FLAGS if flag in document["flags"]]
    if header.factors and stacking:
        with about(spec, engine):
            raise RopewalkError(
                f"the file holds {_held(header)}, whose divisors stay, and {stacking[0]} stacks "
                "with them: expected a file without; write a new one, where the method takes "
                "their place: --out NEW.gguf"
            )
    return document


def _as_it_lies(
    header: GGUFHeader, shape: ModelShape, spec: str, length: int | None
) -> dict[str, Any] | None:
    """``native`` where llama.cpp computes it for the file's own keys and tensors, else None."""
    if [part.name for part in parse_spec(spec).parts] != [NATIVE]:
        return None
    asked, _ = requested(shape, spec, LLAMA_CPP, length)
    trained = header.fields.get("context_length")
    if asked.encoding.settled_length is None or not isinstance(trained, int):
        return None
    admitted = max(asked.length, trained)
    raised = GGUFEdit(keys={"context_length": admitted}, tensors=header.factors, replaced=())
    try:
        found = compared(raised.applied(header), asked)
    except NotTheSame:
        return None
    key = f"{header.architecture}.context_length=int:{admitted}"
    override = ("--override-kv", key) if admitted > trained else ()
    flags = [*override, "-c", str(asked.length)]
    dialect = DIALECTS[LLAMA_CPP]
    prompt = {"admitted": admitted, "longest_prompt": asked.length - dialect.reserved}
    said = f"the file says it itself, in {_held(header)}" if header.factors else ""
    return {
        "engine": LLAMA_CPP,
        "version": VERSION,
        "method": spec,
        "length": asked.length,
        "config": {},
        "remove": [],
        "flags": flags,
        "command": shlex.join((*dialect.command, *flags)),
        "checked": {**found, **prompt, "lengths": [asked.length]},
        "notes": [said] if said else [],
    }


def _held(header: GGUFHeader) -> str:
    return " and ".join(f"{name}.weight" for name in header.factors)


def _elsewhere(header: GGUFHeader, engine: str, document: dict[str, Any]) -> str:
    """For what another engine's document is, since it does not load the file itself, or in part."""
    dropped = dropped_scaling(header)
    loads = f"drops {dropped} of the file" if dropped else "is told of a checkpoint, not of a file"
    loads = "has no GGUF loader" if engine == VLLM else loads
    states = "" if document["config"] else ", whose config.json has to state the same scaling"
    return f"{engine} {loads}: this is for the checkpoint that it was converted from{states}"
