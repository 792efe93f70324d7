"""Gradients through the waves: a wave is a smooth function of its divisors.

Adam goes down the loss of one block of documents after the other, over schedules that are
monotone by construction, from the best fixed schedule; every few steps the candidate is raced.

Source: Kingma and Ba 2015, Adam, arXiv:1412.6980.
"""

from dataclasses import dataclass

import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.searching.measure import blocks
from ropewalk.searching.monotone import MonotoneSpace
from ropewalk.searching.trials import Trials
from ropewalk.searching.ways.way import Problem, Way

PASSES = 3
"""A forward and a backward pass, counted as forward passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes(Way):
    """``steps`` steps of Adam; the rate falls in a straight line to a tenth.

    every  steps between two races
    """

    steps: int = 40
    every: int = 4
    rate: float = 0.1

    def units(self, problem: Problem, documents: int) -> int:
        each = documents // max(1, len(blocks(documents)))
        return self.steps * PASSES * each + self.steps // self.every * documents

    def search(self, problem: Problem, trials: Trials) -> None:
        if problem.slope is None:
            raise RopewalkError(
                "way gradient: expected the loss as objective, of a model that runs here; "
                "use another way"
            )
        space = MonotoneSpace(pairs=problem.pairs)
        vector = space.vector(trials.best or problem.starts[0]).requires_grad_()
        adam = torch.optim.Adam([vector], lr=self.rate)
        parts = blocks(trials.documents)
        for step in range(self.steps):
            block = parts[step % len(parts)]
            trials.spend(PASSES * len(block))
            slope = problem.slope(space.candidate(vector.detach()), block)
            divisors, magnitude = space.logarithms(vector)
            downhill = divisors @ torch.tensor(slope.divisors, dtype=torch.float64)
            adam.zero_grad()
            (downhill + magnitude * slope.magnitude).backward()
            for group in adam.param_groups:
                group["lr"] = self.rate * (1 - 0.9 * step / self.steps)
            adam.step()
            if (step + 1) % self.every == 0:
                trials.race([space.candidate(vector.detach())])
