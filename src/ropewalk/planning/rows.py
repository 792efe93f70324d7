"""A row of a plan: one method, how far it carries, what it costs, and how engines have it."""

from collections.abc import Mapping
from typing import Any

from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.export.document import export_model
from ropewalk.engines.table import ENGINES
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.spec import NATIVE, parse_spec
from ropewalk.planning.accepted import refusal
from ropewalk.planning.candidates import CANDIDATES, Candidate
from ropewalk.planning.measured import measured
from ropewalk.planning.target import Target

AS_TRAINED, UNTUNED, FINE_TUNING, SEARCH, OUT_OF_REACH = (
    "as trained",
    "untuned",
    "fine-tuning",
    "search first",
    "out of reach",
)
REACHED = (AS_TRAINED, UNTUNED, FINE_TUNING)
_ORDER = (UNTUNED, FINE_TUNING, SEARCH, OUT_OF_REACH)
_SERVED_AT_ONE_LENGTH = "every length pays: engines have it at one length alone"


def native_row(target: Target) -> dict[str, Any]:
    """The checkpoint as it is, at a length that it covers."""
    return {
        "method": NATIVE,
        "name": NATIVE,
        "status": AS_TRAINED,
        "reaches_untuned": target.reach,
        "reaches_tuned": None,
        "training": "none",
        "short_context": "none",
        "reason": f"{target.length:,} tokens are within the {target.reach:,} that the checkpoint "
        "was tuned to",
        "source": "the config",
        "measured": None,
        "extend": None,
        "served": NATIVE,
        "engines": {engine: _unedited(target, engine) for engine in ENGINES},
    }


def method_rows(target: Target) -> list[dict[str, Any]]:
    """All methods, those that reach the length first."""
    table = measured()
    rows = [_row(target, candidate, table) for candidate in CANDIDATES]
    return sorted(rows, key=lambda row: _ORDER.index(row["status"]))


def nearest_row(target: Target) -> dict[str, Any] | None:
    """What an engine has that comes nearest, where none has what reaches; None where none has any.

    Returns ``method``, ``engines`` that express it, and ``caveat``.
    """
    for candidate in CANDIDATES:
        spec = _served(target, candidate)
        engines = {} if spec is None else expressed(_engines(target, spec))
        if spec is not None and engines:
            tuned, base = candidate.reach.tuned, _base(target, candidate)
            far = int(max(candidate.reach.untuned, tuned or 0) * base)
            return {
                "method": spec,
                "engines": engines,
                "caveat": f"{candidate.name} was not reported beyond {far:,} tokens of this "
                "checkpoint; measure it with ropewalk compare",
            }
    return None


def expressed(engines: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Those of a row's engines that have the method."""
    return {name: found for name, found in engines.items() if "error" not in found}


def _row(target: Target, candidate: Candidate, measured: Mapping[str, Any]) -> dict[str, Any]:
    spec, status = candidate.spec(target), _status(target, candidate)
    served = _served(target, candidate)
    base, reach = _base(target, candidate), candidate.reach
    untuned = None if _replaced(target, candidate) else int(reach.untuned * base)
    own = target.reach if target.section.rope_type == candidate.name else 0
    return {
        "method": spec,
        "name": candidate.name,
        "status": status,
        "reaches_untuned": untuned,
        "reaches_tuned": None if reach.tuned is None else max(int(reach.tuned * base), own),
        "training": reach.training,
        "short_context": reach.short_context,
        "reason": reach.reason + _replacing(target, candidate),
        "source": reach.source,
        "measured": measured.get(candidate.name),
        "extend": None if spec is None else _refused(target, spec),
        "served": served,
        "engines": {} if served is None or status == OUT_OF_REACH else _engines(target, served),
    }


def served_cost(row: Mapping[str, Any]) -> str:
    """What short texts pay on a server, which may have a method at one length alone."""
    same = row["served"] == row["method"]
    return str(row["short_context"]) if same else _SERVED_AT_ONE_LENGTH


def _served(target: Target, candidate: Candidate) -> str | None:
    return candidate.served(target) if candidate.served else candidate.spec(target)


def _refused(target: Target, spec: str) -> str | None:
    """Why ``extend`` would refuse it, None where it takes it."""
    section = target.section
    try:
        encoding = parse_spec(spec).encoding(
            section.geometry(), context_length=target.length, native=native_encoding(section)
        )
    except RopewalkError as error:
        return str(error)
    return refusal(target.shape, encoding)


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
        f"tuned to {target.reach:,} tokens with"
    )


def _engines(target: Target, spec: str) -> dict[str, dict[str, Any]]:
    return {engine: _exported(target.shape, spec, engine, target.length) for engine in ENGINES}


def _unedited(target: Target, engine: str) -> dict[str, Any]:
    """How to serve a checkpoint as it is: a flag for the length at most, never another config."""
    found = _exported(target.shape, NATIVE, engine, target.length)
    if "error" not in found and not found["config"]:
        return found
    notes = ["serve it as it is; ropewalk audit says what this engine computes"]
    caveat = [found["error"]] if "error" in found else []
    return {"config": {}, "remove": [], "flags": [], "command": "", "notes": [*notes, *caveat]}


def _exported(shape: ModelShape, spec: str, engine: str, length: int) -> dict[str, Any]:
    try:
        found = export_model(shape, spec, engine, length=length)
    except RopewalkError as error:
        return {"error": str(error)}
    return {key: found[key] for key in ("config", "remove", "flags", "command", "notes")}
