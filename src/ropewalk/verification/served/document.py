"""The document of ``verify --served``: the verdict, what explains it, and one sentence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import Unit, cosines
from ropewalk.engines.audit import audit_model
from ropewalk.engines.export.document import export_model
from ropewalk.engines.findings.table import FINDINGS
from ropewalk.engines.instead import UNSCALED
from ropewalk.engines.table import ENGINES
from ropewalk.verification.identification import FEW_BITS, Judgement, Residuals, departure

CANNOT_TELL = "cannot tell"
Document = dict[str, Any]
_BY_CHANCE = 4
_LOOK = "compare the server's config and flags with what ropewalk export prints"
_NOT_A_NUMBER: Mapping[str, str] = MappingProxyType(
    {
        "id": "not-a-number",
        "message": "the server tells log-probabilities that are no numbers",
        "remedy": "serve no more tokens than its table of cos and sin has rows; ropewalk audit "
        "says how many",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inquiry:
    """A server that was asked, and about what.

    how    what it was asked for, in words
    asked  the method that it should compute
    rows   int64 ``[r]``: positions that it told something of
    """

    engine: str
    how: str
    model: str
    shape: ModelShape
    asked: str
    length: int
    trained_length: int
    rows: Tensor


def document(served: Inquiry, judgement: Judgement) -> Document:
    """What ``ropewalk verify --served --json`` prints."""
    asked, identified = judgement.candidates[0], judgement.identified
    passed = identified is asked
    departs = None if passed else departure(asked, served.rows, judgement.noise)
    found = {
        "engine": served.engine,
        "asked": served.asked,
        "verdict": identified.name if identified else CANNOT_TELL,
        "departs_at": departs,
        "candidates": [
            _candidate(each, judgement.unit)
            for each in sorted(judgement.candidates, key=lambda each: each.mean)
        ],
        "finding": None if passed else _finding(served, judgement),
        "model": served.model,
        "trained_length": served.trained_length,
        "length": served.length,
        "told": served.how,
        "unit": judgement.unit.value,
        "positions": served.rows.tolist(),
        "undefined": int((~asked.by_row.isfinite()).sum()),
        "passed": passed,
    }
    return {**found, "sentence": _sentence(found, judgement.doubt)}


def _candidate(compared: Residuals, unit: Unit) -> Document:
    """One of the candidates; of embeddings the cosine at each position too."""
    found: Document = {
        "name": compared.name,
        "mean_difference": _number(compared.mean),
        "largest_difference": _number(compared.largest),
        "by_position": [_number(value) for value in compared.by_row.tolist()],
    }
    if unit is Unit.UNIT_VECTORS:
        found["cosines"] = [_number(value) for value in cosines(compared.signed).tolist()]
    return found


def _finding(served: Inquiry, judgement: Judgement) -> Document | None:
    """The audit's finding that explains a departure, else the kind's own words."""
    shown = _audited(served)
    if judgement.undefined:
        return shown.get("short-table") or dict(_NOT_A_NUMBER)
    if judgement.identified is None:
        return _at_the_end_of_a_table(served, judgement, shown)
    computed = judgement.identified
    for name in computed.findings:
        if name in shown:
            return shown[name]
    remedy = _remedy(served)
    # Why nothing is scaled cannot be told where the audit shows no reason.
    likely = [name for name in computed.findings if name not in UNSCALED]
    if likely:
        kind = FINDINGS[likely[0]]
        return {"id": kind.id, "message": kind.meaning, "remedy": remedy or kind.remedy}
    message = f"the server computes {computed.name}: {served.asked} did not reach it"
    return {"id": "other-encoding", "message": message, "remedy": remedy or _LOOK}


def _at_the_end_of_a_table(
    served: Inquiry, judgement: Judgement, shown: Mapping[str, Document]
) -> Document | None:
    """The audit's finding of a short table, if the server departs where a stated length ends."""
    since = departure(judgement.candidates[0], served.rows, judgement.noise)
    section = served.shape.rope()
    ends = (section.trained_length, section.max_position_embeddings)
    # A row or two behind the end may agree by chance.
    at_end = since is not None and any(0 <= since - end < _BY_CHANCE for end in ends)
    return shown.get("short-table") if at_end else None


def _audited(served: Inquiry) -> dict[str, Document]:
    """What the audit finds in the config about the engine, by id."""
    try:
        found = audit_model(served.shape, served.length)["findings"]
    except RopewalkError:
        return {}
    return {each["id"]: each for each in found if served.engine in each["engines"]}


def _remedy(served: Inquiry) -> str | None:
    """The command that ``export`` prints, or why it cannot."""
    if served.engine not in ENGINES:
        return None
    try:
        export = export_model(served.shape, served.asked, served.engine, length=served.length)
    except RopewalkError as error:
        return str(error)
    return f"start it with: {export['command']}" if export["command"] else None


def _number(value: float) -> float | None:
    """None for what is no number, as JSON has it."""
    return value if math.isfinite(value) else None


def _sentence(found: Document, doubt: str) -> str:
    asked, departs = found["asked"], found["departs_at"]
    since = "" if departs is None else f", and departs from {asked} at position {departs:,}"
    if found["passed"]:
        mean = found["candidates"][0]["mean_difference"]
        bits = ", as weights or a cache in few bits are" if mean > FEW_BITS else ""
        away = f"{mean:.2g} {found['unit']} away on average{bits}"
        return f"The server computes {asked}: {away}."
    if found["undefined"] and found["verdict"] == CANNOT_TELL:
        first = "" if departs is None else f", the first at position {departs:,}"
        rows = f"{found['undefined']:,} of {len(found['positions']):,} positions"
        return f"Cannot tell: the server tells no number at {rows}{first}."
    if found["verdict"] == CANNOT_TELL:
        return f"Cannot tell what the server computes: {doubt}{since}."
    return f"The server computes {found['verdict']}, not {asked}{since}."
