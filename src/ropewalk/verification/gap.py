"""How far apart the predictions of two runs are, row by row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.rotation import work_dtype
from ropewalk.verification.predictor import Predictions

LOGITS_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gap:
    """How far one way of feeding is from the reference, row by row.

    way                in words, what was fed how
    positions          int64 ``[rows]``: of each row in its own sequence
    logit_differences  float64 ``[rows]``: largest absolute difference of a logit
    total_variations   float64 ``[rows]``: between the two next-token distributions
    largest_logit      of the reference, in absolute value

    Logits that are not numbers are infinitely far from everything.
    """

    way: str
    positions: Tensor
    logit_differences: Tensor
    total_variations: Tensor
    largest_logit: float

    @classmethod
    def between(
        cls,
        way: str,
        expected: Sequence[Predictions],
        found: Sequence[Predictions],
        vocabulary_size: int,
    ) -> "Gap":
        """Of all rows found, of one sequence or several, each to the reference's row there."""
        at_once = max(1, LOGITS_AT_ONCE // vocabulary_size)
        blocks = [
            _distances(one.logits(*rows), other.logits(*rows))
            for one, other in zip(expected, found, strict=True)
            for rows in _spans(len(other), at_once)
        ]
        differences, variations, largest = zip(*blocks, strict=True)
        return cls(
            way=way,
            positions=torch.cat([torch.arange(len(each)) for each in found]),
            logit_differences=torch.cat(differences).cpu(),
            total_variations=torch.cat(variations).cpu(),
            largest_logit=max(largest),
        )

    @property
    def max_logit_difference(self) -> float:
        return float(self.logit_differences.max())

    @property
    def max_total_variation(self) -> float:
        return float(self.total_variations.max())

    def first_beyond(self, tolerance: float) -> int | None:
        """The first position at which a logit differs by more than ``tolerance``."""
        beyond = self.positions[self.logit_differences > tolerance]
        return int(beyond.min()) if len(beyond) else None


def _spans(length: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, size):
        yield start, min(start + size, length)


def _distances(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, float]:
    """Of logits ``[rows, vocabulary]``: differences, total variations, the largest of ``a``."""
    wide = work_dtype(a.dtype)
    a, b = a.to(wide), b.to(wide)
    # Equal infinities (entries that a family masks) do not differ.
    differences = torch.where(a == b, 0.0, (a - b).abs()).amax(dim=-1).double()
    variations = (a.softmax(dim=-1) - b.softmax(dim=-1)).abs().sum(dim=-1).double() / 2
    largest = a.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max()
    return differences.nan_to_num(nan=torch.inf), variations.nan_to_num(nan=1.0), float(largest)
