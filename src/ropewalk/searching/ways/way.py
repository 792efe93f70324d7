"""A way: which candidates are tried, in which order."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ropewalk.core.geometry import RopeGeometry
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.measure import MeasureSlope
from ropewalk.searching.trials import Spent, Trials

START_TOKENS = (0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 64, 128, 256)
"""The numbers of LongRoPE, arXiv:2402.13753, table 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is searched for.

    geometry      its trained length is that of what is stretched
    starts        fixed schedules, measured already
    over          what schedules and ramps are laid over; None: plain RoPE
    start_tokens  numbers of positions that may turn unscaled, ascending
    slope         the loss with its gradient, where the callable has one
    """

    geometry: RopeGeometry
    length: int
    starts: Sequence[Candidate]
    start_tokens: tuple[int, ...] = (0,)
    seed: int = 0
    slope: MeasureSlope | None = None
    over: Candidate | None = None

    @property
    def pairs(self) -> int:
        """f."""
        return (self.geometry.rotary_dim + 1) // 2


class Way(ABC):
    """Plain data and a rule. Its randomness comes from the problem's seed alone."""

    def run(self, problem: Problem, trials: Trials) -> str:
        """``search`` to its end; which end it was: ``done`` or ``budget``."""
        try:
            self.search(problem, trials)
        except Spent:
            return "budget"
        return "done"

    @abstractmethod
    def units(self, problem: Problem, documents: int) -> int:
        """Measurements of one document until its own end, by estimate: for a progress bar."""

    @abstractmethod
    def search(self, problem: Problem, trials: Trials) -> None:
        """Measure candidates until the way ends; what is found stands in ``trials``.

        Raises Spent where the budget ends first.
        """
