"""Graph walks: a list of directed edges, and the nodes at a distance from one of them.

    breadth first   the nodes whose shortest path from a node has exactly two edges
    parents         the nodes from which an edge goes to a node

Nodes are random words of six hexadecimal digits; each has two edges to other nodes.

Source: OpenAI 2025, GraphWalks (the data set openai/graphwalks). Deviation: nodes of six digits
instead of ten, so that graphs are larger at a length; answers are in the order of the text, for
teacher forcing; two to six nodes are asked for.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.tasks import words
from ropewalk.evaluation.tasks.fitting import Draft, fitted
from ropewalk.evaluation.tasks.generator import Generator, Place
from ropewalk.evaluation.tasks.haystacks import Noise
from ropewalk.evaluation.tasks.sample import Sample
from ropewalk.evaluation.tasks.tokens import Tokens

Edge = tuple[str, str]

DEGREE = 2
SMALLEST_NODES = 12
ASKED = (2, 6)
"""Fewest and most nodes of an answer."""
DISTRACTORS = 3
ATTEMPTS = 8
SLACK = 8
"""Tokens left for a tokenizer that merges across lines."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphWalk(Generator):
    """Samples of one operation."""

    room: ClassVar[int] = 64
    haystack: Noise

    @abstractmethod
    def operation(self, node: str) -> str:
        """What is asked of a node."""

    @abstractmethod
    def answer(self, edges: Sequence[Edge], node: str) -> set[str]:
        """The nodes that are asked for."""

    def sample(self, place: Place, tokens: Tokens) -> Sample:
        rng = self.randomness(place)
        opening = (
            "You will be given a graph as a list of directed edges, and an operation to perform "
            "on it. Answer with the list of nodes alone.\nThe graph has the following edges:\n"
        )
        spare = place.length - self.room - len(tokens.opening) - self.haystack.padding.smallest
        fixed = tokens.counts([opening + self.operation("0" * 6) + PREFIX])[0]
        edges = _graph(spare - fixed - SLACK, tokens, rng, f"{self.name} at length {place.length}")
        node, found = self._asked(edges, rng)
        order = list(dict.fromkeys(each for edge in edges for each in edge))
        answer = tuple(each for each in order if each in found)
        wrong = [each for each in order if each not in found and each != node]
        draft = Draft(
            task=self.name,
            opening=opening,
            needles=(("\n".join(f"{a} -> {b}" for a, b in edges), 1.0),),
            question=self.operation(node),
            answer_prefix=PREFIX,
            answer=answer,
            distractors=tuple(
                tuple(rng.choice(wrong, size=len(answer), replace=False).tolist())
                for _ in range(DISTRACTORS)
            ),
            max_new_tokens=self.room,
        )
        return replace(fitted(draft, self.haystack, tokens, place.length, rng), depth=None)

    def _asked(self, edges: Sequence[Edge], rng: np.random.Generator) -> tuple[str, set[str]]:
        """The first of 64 random nodes with an answer of a fair size, or else the nearest to it."""
        nodes = sorted({each for edge in edges for each in edge})
        answers = [
            (nodes[at], self.answer(edges, nodes[at])) for at in rng.permutation(len(nodes))[:64]
        ]
        low, high = ASKED[0], min(ASKED[1], (len(nodes) - 1) // 2)  # as many others are wrong
        return min(answers, key=lambda each: max(low - len(each[1]), len(each[1]) - high, 0))


PREFIX = " Final Answer:"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BreadthFirst(GraphWalk):
    """The nodes two edges away."""

    name: ClassVar[str] = "graph_bfs"

    def operation(self, node: str) -> str:
        return (
            f"Operation: Perform a breadth-first search from node {node} and return the nodes "
            "reached at depth 2."
        )

    def answer(self, edges: Sequence[Edge], node: str) -> set[str]:
        targets = _targets(edges)
        first = set(targets.get(node, ())) - {node}
        return {each for middle in first for each in targets.get(middle, ())} - first - {node}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parents(GraphWalk):
    """The nodes from which an edge goes to the node."""

    name: ClassVar[str] = "graph_parents"

    def operation(self, node: str) -> str:
        return f"Operation: Find the parents of node {node}."

    def answer(self, edges: Sequence[Edge], node: str) -> set[str]:
        return {source for source, target in edges if target == node}


def _targets(edges: Sequence[Edge]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source, target in edges:
        found.setdefault(source, []).append(target)
    return found


def _graph(spare: int, tokens: Tokens, rng: np.random.Generator, what: str) -> list[Edge]:
    """Edges in random order whose lines take at most ``spare`` tokens."""
    probe = tokens.counts(_lines(_edges(SMALLEST_NODES, rng)))
    an_edge = sum(probe) / len(probe)
    count = int(spare / (DEGREE * an_edge))
    for _ in range(ATTEMPTS):
        if count < SMALLEST_NODES:
            break
        edges = _edges(count, rng)
        over = sum(tokens.counts(_lines(edges))) - spare
        if over <= 0:
            return edges
        count -= 1 + int(over / (DEGREE * an_edge))
    more = int(SMALLEST_NODES * DEGREE * an_edge) - spare
    raise RopewalkError(
        f"{what}: expected room for {SMALLEST_NODES} nodes; ask for a length of about "
        f"{max(more, 16)} tokens more"
    )


def _edges(count: int, rng: np.random.Generator) -> list[Edge]:
    """From each of ``count`` nodes to two others."""
    nodes = words.letters(rng, count, 6, "0123456789abcdef")
    steps = [rng.choice(count - 1, size=DEGREE, replace=False) + 1 for _ in nodes]
    edges = [
        (node, nodes[(at + int(step)) % count])
        for at, node in enumerate(nodes)
        for step in steps[at]
    ]
    return [edges[at] for at in rng.permutation(len(edges))]


def _lines(edges: Sequence[Edge]) -> list[str]:
    return [f"{source} -> {target}\n" for source, target in edges]
