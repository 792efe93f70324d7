"""A plan: which methods reach a length, at which price, and the flags for each engine."""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.limits import limits_length, nothing_to_scale
from ropewalk.configs.shape import ModelShape
from ropewalk.configs.unknown import Unknown
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.document import export_model
from ropewalk.engines.table import ENGINES
from ropewalk.methods.layer_table import layer_table
from ropewalk.methods.spec import NATIVE
from ropewalk.planning.candidates import CANDIDATES, Candidate
from ropewalk.planning.kv_cache import check_request, kv_cache
from ropewalk.planning.measured import measured
from ropewalk.planning.target import Target

AS_TRAINED, UNTUNED, FINE_TUNING, SEARCH, OUT_OF_REACH = (
    "as trained",
    "untuned",
    "fine-tuning",
    "search first",
    "out of reach",
)
_ORDER = (UNTUNED, FINE_TUNING, SEARCH, OUT_OF_REACH)


def plan_model(
    shape: ModelShape, length: int, *, batch: int = 1, dtype: str = "bf16"
) -> dict[str, Any]:
    """What it takes to run a checkpoint at ``length`` tokens.

    batch, dtype  sequences, and type of cached numbers (bf16, fp16, fp32, fp8, int8), for the
                  memory of the key cache

    Returns ``trained_length`` (L0), ``reach`` (tokens that the checkpoint covers as it is),
    ``length``, ``needed``, ``summary``, ``layers`` (each kind as ``inspect`` says it, and whether
    it ``limits`` the length), ``recommended`` (``extend`` for rw.extend, ``serve`` for
    engines; null where there is nothing to scale), ``methods`` and ``kv_cache``.

    A method has ``method`` (a spec, or null where something has to be searched first), ``name``,
    ``status``, ``reaches_untuned`` and ``reaches_tuned`` (tokens or null), ``training``,
    ``short_context``, ``reason``, ``source``, ``measured`` (on the demo model, or null),
    ``served`` (the spec that engines are given) and ``engines`` (each what ``export`` says, or
    ``error``). The state ``status`` is one of as trained, untuned, fine-tuning, search first, out
    of reach. ``kv_cache`` is what ``ropewalk.planning.kv_cache`` says, or ``bytes`` null and
    ``reason``.

    Raises RopewalkError for a config, length, batch or dtype that cannot be used.
    """
    check_request(length, batch, dtype)
    nothing = nothing_to_scale(shape)
    if nothing is not None:
        return _unscaled(shape, length, nothing, _memory(shape, length, batch, dtype))
    target = Target.of(shape, length)
    needed = length > target.reach
    methods = _methods(shape, target) if needed else [_native(shape, target)]
    return {
        "trained_length": target.trained_length,
        "reach": target.reach,
        "length": length,
        "needed": needed,
        "summary": _summary(target, methods),
        "recommended": _recommended(methods),
        "methods": methods,
        "layers": _layers(shape),
        "kv_cache": _memory(shape, length, batch, dtype),
    }


def _unscaled(
    shape: ModelShape, length: int, reason: str, memory: dict[str, Any]
) -> dict[str, Any]:
    """The plan of a model in which no scaling of RoPE changes anything."""
    growing = [row for row in memory.get("layers", ()) if row["tokens"] == length]
    count = sum(row["layers"] for row in growing)
    layers = "1 layer" if count == 1 else f"{count} layers"
    grows = f" What grows with length is the cache of {layers}."
    return {
        "trained_length": shape.longest,
        "reach": shape.longest,
        "length": length,
        "needed": False,
        "summary": f"{reason}.{grows if growing else ''}",
        "recommended": {"extend": None, "serve": None},
        "methods": [],
        "layers": _layers(shape),
        "kv_cache": memory,
    }


def _layers(shape: ModelShape) -> list[dict[str, Any]]:
    rows = layer_table(shape)
    kinds = () if isinstance(shape.kinds, Unknown) else shape.kinds
    return [{**row, "limits": limits_length(kind)} for row, kind in zip(rows, kinds, strict=True)]


def _native(shape: ModelShape, target: Target) -> dict[str, Any]:
    return {
        "method": NATIVE,
        "name": NATIVE,
        "status": AS_TRAINED,
        "reaches_untuned": target.reach,
        "reaches_tuned": None,
        "training": "none",
        "short_context": "none",
        "reason": f"{target.length:,} tokens are within the {target.reach:,} that the checkpoint "
        "covers as it is",
        "source": "the config",
        "measured": None,
        "served": NATIVE,
        "engines": {engine: _unedited(shape, engine, target.length) for engine in ENGINES},
    }


def _unedited(shape: ModelShape, engine: str, length: int) -> dict[str, Any]:
    """How to serve a checkpoint as it is: a flag for the length at most, never another config."""
    found = _exported(shape, NATIVE, engine, length)
    if "error" not in found and not found["config"]:
        return found
    notes = ["serve it as it is; ropewalk audit says what this engine computes"]
    caveat = [found["error"]] if "error" in found else []
    return {"config": {}, "remove": [], "flags": [], "command": "", "notes": [*notes, *caveat]}


def _methods(shape: ModelShape, target: Target) -> list[dict[str, Any]]:
    """All rows, those that reach the length first."""
    table = measured()
    rows = [_row(shape, target, candidate, table) for candidate in CANDIDATES]
    return sorted(rows, key=lambda row: _ORDER.index(row["status"]))


def _row(
    shape: ModelShape, target: Target, candidate: Candidate, measured: Mapping[str, Any]
) -> dict[str, Any]:
    spec, status = candidate.spec(target), _status(target, candidate)
    served = candidate.served(target) if candidate.served else spec
    base, reach = _base(target, candidate), candidate.reach
    untuned = None if _replaced(target, candidate) else int(reach.untuned * base)
    return {
        "method": spec,
        "name": candidate.name,
        "status": status,
        "reaches_untuned": untuned,
        "reaches_tuned": None if reach.tuned is None else int(reach.tuned * base),
        "training": reach.training,
        "short_context": reach.short_context,
        "reason": reach.reason + _replacing(target, candidate),
        "source": reach.source,
        "measured": measured.get(candidate.name),
        "served": served,
        "engines": {}
        if served is None or status == OUT_OF_REACH
        else _engines(shape, served, target.length),
    }


def _base(target: Target, candidate: Candidate) -> int:
    """The length that multiples refer to: position maps work beside a trained scaling."""
    return target.trained_length if candidate.replaces else target.reach


def _status(target: Target, candidate: Candidate) -> str:
    stretch = target.length / _base(target, candidate)
    reached = stretch <= candidate.reach.untuned and not _replaced(target, candidate)
    if not reached and stretch > (candidate.reach.tuned or 0):
        return OUT_OF_REACH
    if candidate.spec(target) is None:
        return SEARCH
    return UNTUNED if reached else FINE_TUNING


def _replaced(target: Target, candidate: Candidate) -> bool:
    """Whether the method takes the place of a scaling that training has got used to."""
    return target.is_scaled and candidate.replaces


def _replacing(target: Target, candidate: Candidate) -> str:
    if not _replaced(target, candidate):
        return ""
    return (
        f"; it takes the place of the {target.section.rope_type} scaling that this checkpoint was "
        "trained with"
    )


def _engines(shape: ModelShape, spec: str, length: int) -> dict[str, dict[str, Any]]:
    return {engine: _exported(shape, spec, engine, length) for engine in ENGINES}


def _exported(shape: ModelShape, spec: str, engine: str, length: int) -> dict[str, Any]:
    try:
        found = export_model(shape, spec, engine, length=length)
    except RopewalkError as error:
        return {"error": str(error)}
    return {key: found[key] for key in ("config", "remove", "flags", "command", "notes")}


def _recommended(methods: list[dict[str, Any]]) -> dict[str, str | None]:
    """The first that reaches the length; of those that an engine expresses, the first as it is."""
    reached = [row for row in methods if row["status"] in (AS_TRAINED, UNTUNED, FINE_TUNING)]
    served = [row for row in reached if any("error" not in e for e in row["engines"].values())]
    served.sort(key=lambda row: row["served"] != row["method"])
    return {
        "extend": reached[0]["method"] if reached else None,
        "serve": served[0]["served"] if served else None,
    }


def _summary(target: Target, methods: list[dict[str, Any]]) -> str:
    best = methods[0]
    if best["status"] == AS_TRAINED:
        return f"Nothing is needed: {best['reason']}."
    times = f"{target.length:,} tokens are {target.stretch:.3g} times the {target.reach:,} that "
    times += "the checkpoint covers as it is"
    if best["status"] == UNTUNED:
        return f"{times}; {best['name']} reaches them without training."
    if best["status"] == FINE_TUNING:
        return f"{times}; {best['name']} reaches them after fine-tuning ({best['training']})."
    if best["status"] == SEARCH:
        return f"{times}; only searched LongRoPE factors with fine-tuning were reported to."
    return f"{times}; no method was reported to reach that far."


def _memory(shape: ModelShape, length: int, batch: int, dtype: str) -> dict[str, Any]:
    try:
        return kv_cache(shape, length, batch=batch, dtype=dtype)
    except RopewalkError as error:
        return {
            "batch": batch,
            "dtype": dtype,
            "tokens": length,
            "bytes": None,
            "reason": str(error),
        }
