"""Whether an engine computes what was asked, from the engine's own answer."""

from collections.abc import Sequence
from typing import Any

from ropewalk.core.encoding import Encoding
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.export.dialect import Dialect, Directions
from ropewalk.engines.export.request import ExportRequest

MAGNITUDE_TOLERANCE = 1e-6
"""Relative, of the attention factor and the softmax multiplier."""


class NotTheSame(Exception):
    """What an engine computes otherwise than asked; caught where exports are made."""


def checked(directions: Directions, dialect: Dialect, request: ExportRequest) -> dict[str, Any]:
    """The largest differences between what the directions computes and what was asked.

    Where the engine follows the sequence so far, at L0 and at the length asked for; else at the
    length alone. NotTheSame where something differs by more than its tolerance, or the length is
    not admitted.
    """
    lengths = [request.length]
    if request.block.follows_length and request.block.trained_length < request.length:
        lengths = [request.block.trained_length, request.length]
    found = [_at(directions, dialect, request, length) for length in lengths]
    worst = {key: max(at[key] for at in found) for key in found[0]}
    return {**worst, "admitted": _admitted(directions, dialect, request), "lengths": lengths}


def _at(
    directions: Directions, dialect: Dialect, request: ExportRequest, length: int
) -> dict[str, float]:
    back = dialect.read_back(directions, request, length)
    answer = back.answer
    if answer.inv_freq is None or answer.attention_factor is None:
        raise NotTheSame(answer.error or "; ".join(answer.notes) or "it says nothing")
    theta, magnitude = _wanted(request.encoding, length)
    differences = {
        "inv_freq": _largest_difference(answer.inv_freq, theta),
        "attention_factor": _relative(answer.attention_factor, magnitude),
        "softmax_scale_multiplier": _relative(
            answer.softmax_scale_multiplier or 1.0, request.softmax_multiplier
        ),
    }
    if back.positions is not None and back.positions < length:
        raise NotTheSame(f"its table has {back.positions:,} rows, fewer than {length:,} positions")
    for name, difference in differences.items():
        allowed = dialect.tolerance if name == "inv_freq" else MAGNITUDE_TOLERANCE
        if not difference <= allowed:
            raise NotTheSame(_said(name, difference, answer, magnitude, request))
    return differences


def _said(
    name: str, difference: float, answer: EngineAnswer, magnitude: float, request: ExportRequest
) -> str:
    if name == "inv_freq":
        return f"its frequencies differ by up to {difference:.2%}"
    if name == "attention_factor":
        return f"its attention factor is {answer.attention_factor:.6g}, asked was {magnitude:.6g}"
    return (
        f"its softmax scale is {answer.softmax_scale_multiplier:.6g} times qk_head_dim^-1/2, the "
        f"checkpoint was trained with {request.softmax_multiplier:.6g}"
    )


def _wanted(encoding: Encoding, length: int) -> tuple[list[float], float]:
    """Frequencies and attention factor of a sequence of ``length`` tokens."""
    at = encoding.settled_length or max(length, encoding.geometry.trained_length)
    frequencies = encoding.rotation
    return frequencies.inv_freq(at).tolist(), frequencies.attention_factor(at)


def _admitted(directions: Directions, dialect: Dialect, request: ExportRequest) -> int | None:
    """Tokens that the engine admits, at least as many as asked for; None where it does not ask."""
    length = request.length
    admitted = dialect.read_back(directions, request, length).admitted
    if admitted is not None and admitted < length:
        raise NotTheSame(f"it admits {admitted:,} tokens, asked were {length:,}")
    return admitted


def _largest_difference(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Relative; infinite where the lengths differ or one of two stands still."""
    if len(found) != len(wanted):
        return float("inf")
    return max(map(_relative, found, wanted), default=0.0)


def _relative(found: float, wanted: float) -> float:
    if found == wanted:
        return 0.0
    return abs(found - wanted) / abs(wanted) if wanted else float("inf")
