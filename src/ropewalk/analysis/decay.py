"""How logits of a row fall with the distance D of the key.

    bound(D) = a^2 tau / f * sum_j |S_j|,   S_j = sum_(i < j) e^(i phi_i(D)),   j = 1 .. f
    score(D) = a^2 tau / f * sum_i cos phi_i(D)

phi_i(D) is the angle between the row and the key at true distance D, f the number of pairs, a the
attention factor. ``bound`` follows the size that any logit may have at most, ``score`` is the
logit of equal query and key channels.

Source: Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.4.3.
Deviation: the paper's bound has neither attention factor nor temperature.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ropewalk.analysis.case import Case, Record, at_most
from ropewalk.analysis.rows import last_row_length
from ropewalk.core.encoding import Encoding

BINS_AN_OCTAVE = 8
"""Points of a curve over distances between one and twice as much; each is a mean."""
LARGEST_CURVE = 2**17


def decay(case: Case) -> Record:
    """``bound`` and ``score`` of the last row under each method, from D = 1 on.

    Each point is the mean over the distances of an eighth of an octave, ``bins``: first and
    last; ``distances`` are their middles. Raises RopewalkError for a length that is too long.
    """
    length = case.context_length
    at_most(length, LARGEST_CURVE)
    bins = _octaves(length)

    def facts(encoding: Encoding) -> Record:
        bound, score = _of_distances(encoding, length)
        return {"bound": _means(bound, bins), "score": _means(score, bins)}

    middles = [(first + last) / 2 for first, last in bins]
    return {"bins": bins, "distances": middles, "methods": case.each(facts)}


def _of_distances(encoding: Encoding, length: int) -> tuple[Tensor, Tensor]:
    """Bound and score ``[D]`` of the last row, D = 0 .. length - 1."""
    row, seen = torch.tensor([length - 1]), last_row_length(encoding, length)
    keys = torch.arange(length).flip(0)
    rotation = encoding.rotation
    phases = torch.zeros(length, len(rotation.inv_freq(seen)), dtype=torch.float64)
    for region in encoding.position_map.regions:
        here = region.covers(row, keys)
        query = rotation.angles(region.query_positions(row), seen)
        phases[here] = query - rotation.angles(region.key_positions(keys[here]), seen)
    magnitude = rotation.attention_factor(seen) ** 2 * encoding.query_scale(row)
    sums = torch.polar(torch.ones_like(phases), phases).cumsum(dim=1)
    return magnitude * sums.abs().mean(dim=1), magnitude * phases.cos().mean(dim=1)


def _octaves(length: int) -> list[tuple[int, int]]:
    """(first, last) of consecutive bins of the distances 1 .. length - 1, equal on a log axis."""
    edges = [1]
    while edges[-1] < length:
        edges.append(max(edges[-1] + 1, round(edges[-1] * 2 ** (1 / BINS_AN_OCTAVE))))
    return [(first, min(after, length) - 1) for first, after in pairwise(edges)]


def _means(values: Tensor, bins: Sequence[tuple[int, int]]) -> list[float]:
    return [values[first : last + 1].mean().item() for first, last in bins]
