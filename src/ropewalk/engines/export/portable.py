"""A method as one config.json for every engine that reads one.

Engines name a magnitude by different keys: ``attention_factor``, ``attn_factor``,
``short_mscale``. A folder that is handed on holds all of them, where they do not contradict one
another, and each engine is then asked what it makes of the whole.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import LLAMA_CPP, SGLANG, TRANSFORMERS
from ropewalk.engines.export.block import RopeBlock
from ropewalk.engines.export.check import NotTheSame, checked
from ropewalk.engines.export.dialect import Dialect
from ropewalk.engines.export.dialects import DIALECTS
from ropewalk.engines.export.document import about, dialect_of, first_audited, requested
from ropewalk.engines.export.request import ExportRequest
from ropewalk.engines.patch import ConfigPatch

Blocks = tuple[RopeBlock, ...]


def portable_block(
    shape: ModelShape, spec: str, *, length: int | None = None, engine: str = TRANSFORMERS
) -> dict[str, Any]:
    """What to set in a config.json so that ``engine`` computes ``spec``, and the others too.

    engine  transformers, vllm or sglang: the one that must; llama.cpp is given a .gguf file

    Returns ``engine``, ``method``, ``length``, ``config`` (keys to set), ``remove`` (keys that
    they replace), ``checked`` (as ``export_model``), ``engines`` (of each, null where it computes
    the method with this config, else why not) and ``commands`` (of those that do, with MODEL for
    the folder).

    Raises RopewalkError as ``export_model`` does, and for llama.cpp.
    """
    if engine == LLAMA_CPP:
        raise RopewalkError(
            "llama.cpp reads no config.json; expected a .gguf model and --out NEW.gguf, or another "
            "--engine"
        )
    dialect = dialect_of(engine)
    request, blocks = requested(shape, spec, engine, length)
    with about(spec, engine):
        asked, directions, found = first_audited(dialect, request, blocks)
    own = directions.patch
    patch, applied = own, _applied(own, asked)
    joined = _joined(own, asked, engine)
    whole = _applied(joined, asked)
    if _differs(dialect, whole) is None:
        patch, applied = joined, whole
    reasons = {name: _differs(each, applied) for name, each in DIALECTS.items()}
    if engine != SGLANG and reasons[SGLANG] is None:
        reasons[SGLANG] = _off_by_one(applied)
    return {
        "engine": engine,
        "method": spec,
        "length": asked.length,
        "config": patch.document,
        "remove": ["rope_scaling"] if _replaces(patch, asked) else [],
        "checked": found,
        "engines": reasons,
        "commands": {
            name: shlex.join((*each.command, *each.unchanged(applied).flags))
            for name, each in DIALECTS.items()
            if reasons[name] is None and each.command and name != LLAMA_CPP
        },
    }


def require_computed(
    written: ModelShape, shape: ModelShape, spec: str, engine: str, length: int | None = None
) -> None:
    """Raise RopewalkError unless ``engine`` computes ``spec`` over ``shape`` with another config.

    written  the config that was read back
    shape    the one that it was made of
    """
    asked, _ = requested(shape, spec, engine, length)
    applied = replace(asked, shape=written, section=written.rope(asked.section.layer_type))
    reason = _differs(dialect_of(engine), applied)
    if reason is not None:
        with about(spec, engine):
            raise RopewalkError(f"the config was read back, and {reason}; nothing was kept")


def _joined(own: ConfigPatch, asked: ExportRequest, engine: str) -> ConfigPatch:
    """``own`` with the keys of other engines that it does not contradict."""
    keys: Mapping[str, Any] = own.keys
    for name, dialect in DIALECTS.items():
        if name in (engine, LLAMA_CPP):
            continue
        try:
            theirs = dialect.write(asked).patch
        except RopewalkError:
            continue
        keys = _merged(keys, theirs.keys)
    return replace(own, keys=keys)


def _merged(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of both; where they contradict, the own ones. A null is an override's alone."""
    merged = {key: value for key, value in own.items() if value is not None}
    for key, value in theirs.items():
        ours = merged.get(key)
        if isinstance(ours, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(ours, value)
        elif ours is None and value is not None:
            merged[key] = dict(value) if isinstance(value, Mapping) else value
    return merged


def _applied(patch: ConfigPatch, asked: ExportRequest) -> ExportRequest:
    """The same request over the config as it will stand in the folder."""
    shape = asked.shape.reread(patch.applied(asked.shape.config))
    return replace(asked, shape=shape, section=shape.rope(asked.section.layer_type))


def _differs(dialect: Dialect, applied: ExportRequest) -> str | None:
    """Why an engine does not compute the method with this config; None where it does."""
    try:
        checked(dialect.unchanged(applied), dialect, applied)
    except NotTheSame as difference:
        return f"{difference} ({dialect.limits(applied)})"
    except RopewalkError as error:
        return str(error)
    return None


def _off_by_one(applied: ExportRequest) -> str | None:
    original = applied.block.trained_length
    if applied.section.rope_type != "longrope" or original >= applied.length:
        return None
    return (
        f"position {original:,} alone is read from the row of position 0; ropewalk export "
        "--engine sglang writes lists without that"
    )


def _replaces(patch: ConfigPatch, asked: ExportRequest) -> bool:
    return "rope_parameters" in patch.keys and "rope_scaling" in asked.shape.text
