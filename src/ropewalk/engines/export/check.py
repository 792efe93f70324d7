"""Whether an engine computes what was asked, from the engine's own answer."""

from collections.abc import Sequence
from typing import Any

from ropewalk.core.encoding import Encoding
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.export.dialect import Dialect, Directions, ReadBack
from ropewalk.engines.export.lists import STANDING
from ropewalk.engines.export.request import ExportRequest

MAGNITUDE_TOLERANCE = 1e-6
"""Relative, of the attention factor and the softmax multiplier."""


class NotTheSame(Exception):
    """What an engine computes otherwise than asked; caught where exports are made."""


def checked(directions: Directions, dialect: Dialect, request: ExportRequest) -> dict[str, Any]:
    """The largest differences between what the engine computes and what was asked.

    Where the engine follows the sequence so far, at L0 and at the length asked for; else at the
    length alone. NotTheSame where something differs by more than its tolerance, or the length is
    not admitted.
    """
    lengths = [request.length]
    if request.block.follows_length and request.block.trained_length < request.length:
        lengths = [request.block.trained_length, request.length]
    backs = [dialect.read_back(directions, request, length) for length in lengths]
    found = [
        _differences(back, dialect, request, length)
        for back, length in zip(backs, lengths, strict=True)
    ]
    worst = {key: max(at[key] for at in found) for key in found[0]}
    admitted = backs[-1].admitted
    if admitted is not None and admitted < request.length:
        raise NotTheSame(f"it admits {admitted:,} tokens, asked were {request.length:,}")
    prompt = None if admitted is None else admitted - dialect.reserved
    return {**worst, "admitted": admitted, "longest_prompt": prompt, "lengths": lengths}


def _differences(
    back: ReadBack, dialect: Dialect, request: ExportRequest, length: int
) -> dict[str, float]:
    """``differences``, where the table holds every position."""
    if back.answer.inv_freq is not None and back.positions is not None and back.positions < length:
        raise NotTheSame(f"its table has {back.positions:,} rows, fewer than {length:,} positions")
    return differences(back.answer, request, length, dialect.tolerance)


def differences(
    answer: EngineAnswer, request: ExportRequest, length: int, tolerance: float
) -> dict[str, float]:
    """Of frequencies, attention factor and softmax multiplier; NotTheSame beyond a tolerance.

    tolerance  relative, of frequencies
    """
    if answer.inv_freq is None or answer.attention_factor is None:
        raised = answer.error and f"it raises {answer.error}"
        raise NotTheSame(raised or "; ".join(answer.notes) or "it says nothing")
    theta, magnitude = _wanted(request.encoding, length)
    multiplier, trained = answer.softmax_scale_multiplier or 1.0, request.softmax_multiplier
    frequencies = _largest_difference(answer.inv_freq, theta)
    if not frequencies <= tolerance:
        raise NotTheSame(f"its frequencies differ by up to {frequencies:.2%}")
    factor = _relative(answer.attention_factor, magnitude)
    if not factor <= MAGNITUDE_TOLERANCE:
        raise NotTheSame(
            f"its attention factor is {answer.attention_factor:.6g}, asked was {magnitude:.6g}"
        )
    scale = _relative(multiplier, trained)
    if not scale <= MAGNITUDE_TOLERANCE:
        raise NotTheSame(
            f"its softmax scale is {multiplier:.6g} times qk_head_dim^-1/2, the checkpoint was "
            f"trained with {trained:.6g}"
        )
    return {
        "inv_freq": frequencies,
        "attention_factor": factor,
        "softmax_scale_multiplier": scale,
    }


def _wanted(encoding: Encoding, length: int) -> tuple[list[float], float]:
    """Frequencies and attention factor of a sequence of ``length`` tokens."""
    at = encoding.settled_length or max(length, encoding.geometry.trained_length)
    frequencies = encoding.rotation
    return frequencies.inv_freq(at).tolist(), frequencies.attention_factor(at)


def _largest_difference(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Relative; infinite where the lengths differ or one of two stands still."""
    if len(found) != len(wanted):
        return float("inf")
    return max(map(_speed_difference, found, wanted), default=0.0)


def _speed_difference(found: float, wanted: float) -> float:
    """Relative; a pair that should stand still may turn by less than float32 rounds."""
    return 0.0 if wanted == 0 and abs(found) <= 2 * STANDING else _relative(found, wanted)


def _relative(found: float, wanted: float) -> float:
    if found == wanted:
        return 0.0
    return abs(found - wanted) / abs(wanted) if wanted else float("inf")
