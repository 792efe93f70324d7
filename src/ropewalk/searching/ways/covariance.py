"""CMA-ES, ask and tell, over schedules that are monotone by construction.

Begins at the best fixed schedule; a generation is raced, and dropped candidates are told by what
they would have on all documents. A run that has converged starts again from the best with half
the step.

Source: Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772; the package cmaes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ropewalk.core.extras import require_extra
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.monotone import MonotoneSpace
from ropewalk.searching.trials import Trials
from ropewalk.searching.ways.way import Problem, Way

RACED = 4
"""Documents that a raced candidate is measured on, by estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CovarianceAdaptation(Way):
    """``runs`` runs of at most ``generations`` generations.

    sigma  first step, in the numbers of ``MonotoneSpace``
    """

    sigma: float = 0.3
    runs: int = 3
    generations: int = 16

    def units(self, problem: Problem, documents: int) -> int:
        each = 4 + int(3 * math.log(MonotoneSpace(pairs=problem.pairs).numbers))
        return self.runs * self.generations * each * min(documents, RACED)

    def search(self, problem: Problem, trials: Trials) -> None:
        require_extra("search", "cmaes", purpose="the way cmaes")
        import cmaes

        space = MonotoneSpace(pairs=problem.pairs)
        for run in range(self.runs):
            start = trials.best or problem.starts[0]
            optimizer = cmaes.CMA(
                mean=_vector(space, start, problem),
                sigma=self.sigma / 2**run,
                seed=problem.seed + run,
            )
            for _ in range(self.generations):
                asked = [optimizer.ask() for _ in range(optimizer.population_size)]
                values = trials.race([_candidate(space, each, problem) for each in asked])
                optimizer.tell(list(zip(asked, values, strict=True)))
                if optimizer.should_stop():
                    break


def _vector(space: MonotoneSpace, start: Candidate, problem: Problem) -> "np.ndarray":
    """Of a start; where start tokens are searched, a last number for their place in the list."""
    vector = space.vector(start).numpy()
    if len(problem.start_tokens) == 1:
        return vector
    nearest = min(
        range(len(problem.start_tokens)),
        key=lambda place: abs(problem.start_tokens[place] - start.start_tokens),
    )
    return np.append(vector, _STEP * nearest)


_STEP = 0.3
"""Of the last number, from one entry of the list to the next: a first step of CMA-ES."""


def _candidate(space: MonotoneSpace, asked: "np.ndarray", problem: Problem) -> Candidate:
    place = round(float(asked[-1]) / _STEP) if len(problem.start_tokens) > 1 else 0
    place = min(max(place, 0), len(problem.start_tokens) - 1)
    vector = torch.from_numpy(asked[: space.numbers])
    return space.candidate(vector, problem.start_tokens[place])
