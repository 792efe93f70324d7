"""Divisors that grow with the pair by construction: cumulative softplus of a few knots.

    ln lambda at knot k = softplus(v_0) + ... + softplus(v_k),   straight between knots
    magnitude = exp(v_K)

K knots stand evenly over the pairs, so that every vector of K + 1 real numbers is a schedule.
Softplus keeps the increments above 0: lambda is at least 1 and never falls.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ropewalk.searching.candidate import Candidate

KNOTS = 8
LEAST_INCREMENT = 0.02
"""Nats: where a start has none, so that its slope is not lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotoneSpace:
    """Schedules of ``pairs`` pairs by ``knots`` knots and a magnitude."""

    pairs: int
    knots: int = KNOTS

    @property
    def numbers(self) -> int:
        """K + 1: the knots and the magnitude."""
        return self.knots + 1

    def logarithms(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """ln lambda ``[f]`` and ln magnitude ``[]`` of a vector ``[K + 1]``; differentiable."""
        at_knots = functional.softplus(vector[: self.knots]).cumsum(0)
        places = torch.linspace(0, self.knots - 1, self.pairs, dtype=vector.dtype)
        left = places.floor().long().clamp(max=max(self.knots - 2, 0))
        right = (left + 1).clamp(max=self.knots - 1)
        share = places - left
        return (1 - share) * at_knots[left] + share * at_knots[right], vector[self.knots]

    def candidate(self, vector: Tensor, start_tokens: int = 0) -> Candidate:
        """Of a vector ``[K + 1]``, float64."""
        divisors, magnitude = self.logarithms(vector.double())
        return Candidate.of(divisors.exp().tolist(), float(magnitude.exp()), start_tokens)

    def vector(self, candidate: Candidate) -> Tensor:
        """The vector whose knots lie on a candidate's divisors, float64 ``[K + 1]``."""
        divisors = torch.tensor(candidate.divisors, dtype=torch.float64).log()
        places = torch.linspace(0, self.pairs - 1, self.knots).round().long()
        at_knots = divisors[places]
        increments = at_knots.diff(prepend=at_knots.new_zeros(1)).clamp(min=LEAST_INCREMENT)
        inverse = increments + torch.log(-torch.expm1(-increments))  # of softplus
        magnitude = torch.tensor([candidate.magnitude], dtype=torch.float64).log()
        return torch.cat([inverse, magnitude])
