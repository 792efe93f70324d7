"""What a gap between two ways of feeding a model means: allowed, broken, or declared."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.verification.gap import Gap

Record = dict[str, Any]

OK, FAILED, DECLARED, NOT_RUN = "ok", "failed", "differs, as declared", "not run"

ROOM = 20.0
"""A method may differ by this many times what the yardstick differs by. One that amplifies rounding
more than the yardstick does may differ by as much more."""
FLOORS = {torch.float64: 1e-9, torch.float32: 1e-4}
FLOOR_OF_16_BITS = 5e-2
"""The least that is allowed, as a share of the largest logit."""

MEANINGS = {
    "chunked": "keys of earlier calls were rotated under another length or position than one call "
    "uses: prefill in chunks is not what a full pass measures",
    "decode": "cached keys keep the rotation of the call that wrote them, or the length of a row "
    "depends on its call: generation is not what a full pass measures",
    "padded": "positions or lengths are those of the batch and not of each sequence's own tokens: "
    "padding and batch mates change a result",
    "alone": "a rank takes positions, lengths or heads of its own for those of the whole sequence",
    "history": "the model remembers an earlier call: a result depends on what ran before",
}
"""What a failure of each check usually means."""
UNEXCUSED = "alone"
"""The check that no length policy excuses: how many share a sequence out is no part of a method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """How far each check is from the reference, and how far rounding alone may lead.

    rounding  measures the largest difference of a logit where embeddings are changed by one
              rounding
    """

    by_check: Mapping[str, Gap]
    rounding: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What each check allows, in logits, of a model that amplifies rounding as the yardstick does.

    rounding  the yardstick's, in logits
    """

    by_check: Mapping[str, float]
    rounding: float
    trained_length: int

    @classmethod
    def of(
        cls, yardstick: Gaps, dtype: torch.dtype, trained_length: int, room: float = ROOM
    ) -> "Tolerances":
        """``room`` times the gaps of a yardstick, with a floor by dtype.

        Raises RopewalkError for a yardstick whose logits are not numbers.
        """
        gaps = yardstick.by_check
        figures = [gap.max_logit_difference for gap in gaps.values()]
        if not all(map(math.isfinite, figures)):
            raise RopewalkError(
                f"logits in {dtype_name(dtype)} are not finite: expected numbers; "
                "try another dtype, and check the weights"
            )
        floor = FLOORS.get(dtype, FLOOR_OF_16_BITS)
        allowed = {
            check: max(floor * gap.largest_logit, room * gap.max_logit_difference)
            for check, gap in gaps.items()
        }
        return cls(by_check=allowed, rounding=yardstick.rounding(), trained_length=trained_length)

    def records(self, method: str, gaps: Gaps, beyond: str) -> list[Record]:
        """``beyond``: the status of a difference that is larger than allowed; of ``UNEXCUSED``,
        always a failure."""
        rounding = gaps.rounding() if beyond == FAILED and self._exceeded_by(gaps) else None
        more = self._amplification(rounding)
        return [
            {
                **self._record(method, check, gap, more, FAILED if check == UNEXCUSED else beyond),
                "rounding": rounding,
            }
            for check, gap in gaps.by_check.items()
        ]

    def _exceeded_by(self, gaps: Gaps) -> bool:
        return any(
            gap.first_beyond(self.by_check[check]) is not None
            for check, gap in gaps.by_check.items()
        )

    def _amplification(self, rounding: float | None) -> float:
        """How many times as much as under the yardstick rounding does; at least 1."""
        if not rounding or not self.rounding or not math.isfinite(rounding / self.rounding):
            return 1.0
        return max(1.0, rounding / self.rounding)

    def _record(self, method: str, check: str, gap: Gap, more: float, beyond: str) -> Record:
        tolerance = self.by_check[check] * more
        first = gap.first_beyond(tolerance)
        status = OK if first is None else beyond
        return {
            "method": method,
            "check": check,
            "status": status,
            "max_logit_difference": gap.max_logit_difference,
            "max_total_variation": gap.max_total_variation,
            "tolerance": tolerance,
            "sentence": self._sentence(check, gap, tolerance, first, status),
        }

    def _sentence(
        self, check: str, gap: Gap, tolerance: float, first: int | None, status: str
    ) -> str:
        if first is None:
            return f"{gap.way}: the same as one call alone"
        figures = (
            f"{gap.way}: logits differ from one call alone by up to "
            f"{gap.max_logit_difference:.2g} (total variation {gap.max_total_variation:.2g}; "
            f"allowed {tolerance:.1e}), first at position {first} "
            f"(trained length {self.trained_length})"
        )
        if status == DECLARED:
            return f"{figures}, as its length policy declares"
        return f"{figures}; usually {MEANINGS[check]}"


def not_run(method: str, check: str, reason: str) -> Record:
    """The record of a method that this model refuses."""
    figures = dict.fromkeys(("max_logit_difference", "max_total_variation", "tolerance"))
    named = {"method": method, "check": check, "status": NOT_RUN}
    return {**named, **figures, "sentence": reason, "rounding": None}


def dtype_name(dtype: torch.dtype) -> str:
    """``float32``."""
    return str(dtype).removeprefix("torch.")
