"""LongRoPE's evolution, candidate by candidate on all documents.

    population 64: YaRN and mutations of it;  40 times: 32 parents, 16 mutations, 16 crossovers
    a mutation draws each divisor with probability 0.3 anew between its two neighbours
    a crossover takes a divisor of the second parent with probability 0.3 * 0.5, and is the first
    child that is new and monotone; after too many tries, a mutation of the first parent

Divisors are multiples of 0.01 from 1 to 1 + s, never falling; the magnitude stays
sqrt(1 + ln s / ln L0) throughout.

Source: Ding et al. 2024, LongRoPE, arXiv:2402.13753, section 3.3 and algorithm 1; the released
    search of microsoft/LongRoPE for what the paper leaves open.
Deviation: from the paper, as released code: the range is 1 + s (not 1.25 s), and the first
    population comes from YaRN alone (the paper adds PI and NTK). Start tokens, which released code
    does not search, are a further number of a candidate where more than one is allowed. Released
    code's crossover goes on from a child that was refused; so does this. A mutation is tried
    anew, without end there, 1,000 times here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ropewalk.frequencies.longrope import longrope_attention_factor
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.schedules import published, stretch
from ropewalk.searching.trials import Trials
from ropewalk.searching.ways.way import Problem, Way

STEP = 0.01
CHANGED = 0.3
CROSSED = 0.5
MUTATION_TRIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution(Way):
    """With the published sizes by default: 64 + 40 * 32 = 1,344 candidates."""

    population: int = 64
    mutations: int = 16
    crossovers: int = 16
    parents: int = 32
    iterations: int = 40
    crossover_tries: int = 100

    def units(self, problem: Problem, documents: int) -> int:
        children = self.iterations * (self.mutations + self.crossovers)
        return (self.population + children) * documents

    def search(self, problem: Problem, trials: Trials) -> None:
        nursery = _Nursery(problem)
        first = nursery.first()
        people = [first]
        while len(people) < self.population:
            people.append(nursery.mutation(first))
        trials.on(people, trials.documents)
        for _ in range(self.iterations):
            parents = sorted(people, key=trials.value)[: self.parents]
            children = [
                nursery.mutation(parents[nursery.rng.integers(len(parents))])
                for _ in range(self.mutations)
            ]
            children += [
                nursery.crossover(parents, self.crossover_tries) for _ in range(self.crossovers)
            ]
            trials.on(children, trials.documents)
            people = parents + children


class _Nursery:
    """New candidates, each once. Divisors are whole numbers of ``STEP``."""

    def __init__(self, problem: Problem) -> None:
        self.rng = np.random.default_rng(problem.seed)
        self._problem = problem
        s, trained = stretch(problem.geometry, problem.length), problem.geometry.trained_length
        self._magnitude = longrope_attention_factor(s, trained)
        before = max(problem.over.divisors) if problem.over else 1.0
        self._largest = round((1 + s * before) / STEP)
        self._seen: set[_Genes] = set()

    def first(self) -> Candidate:
        """YaRN's divisors on the grid."""
        yarn = published("yarn", self._problem.geometry, self._problem.length).candidate
        yarn = yarn.over(self._problem.over)
        steps = tuple(min(round(each / STEP), self._largest) for each in yarn.divisors)
        return self._born((steps, self._problem.start_tokens[0]))

    def mutation(self, parent: Candidate) -> Candidate:
        """Of a parent: a new one, unless all tries end at one that is known."""
        genes = _genes(parent)
        for _ in range(MUTATION_TRIES):
            genes = self._mutated(genes)
            if genes not in self._seen:
                break
        return self._born(genes)

    def crossover(self, parents: Sequence[Candidate], tries: int) -> Candidate:
        """Of two parents, of which the better one gives all that is not crossed."""
        better, other = sorted(self.rng.choice(len(parents), 2, replace=False).tolist())
        (steps, start), (theirs, their_start) = _genes(parents[better]), _genes(parents[other])
        child = list(steps)
        for _ in range(tries if steps != theirs else 0):
            for place, step in enumerate(theirs):
                if self.rng.random() < CHANGED:
                    if self.rng.random() < CROSSED:
                        child[place] = step
                    genes = tuple(child), int(self.rng.choice([start, their_start]))
                    if genes not in self._seen and child == sorted(child):
                        return self._born(genes)
        return self.mutation(parents[better])

    def _mutated(self, genes: "_Genes") -> "_Genes":
        steps, start = list(genes[0]), genes[1]
        for place in range(len(steps)):
            if self.rng.random() < CHANGED:
                low = steps[place - 1] if place else round(1 / STEP)
                high = steps[place + 1] if place + 1 < len(steps) else self._largest
                if low <= high:
                    steps[place] = int(self.rng.integers(low, high + 1))
        if len(self._problem.start_tokens) > 1 and self.rng.random() < CHANGED:
            start = int(self.rng.choice(self._problem.start_tokens))
        return tuple(steps), start

    def _born(self, genes: "_Genes") -> Candidate:
        self._seen.add(genes)
        return Candidate.of((step * STEP for step in genes[0]), self._magnitude, genes[1])


_Genes = tuple[tuple[int, ...], int]
"""Divisors in steps, and start tokens."""


def _genes(candidate: Candidate) -> _Genes:
    return tuple(round(each / STEP) for each in candidate.divisors), candidate.start_tokens
