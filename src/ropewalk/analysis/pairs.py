"""How fast each pair of channels rotates, and which pairs see angles that training never showed."""

import math

import torch
from torch import Tensor

from ropewalk.analysis.case import Case, Record
from ropewalk.analysis.distances import largest_distance
from ropewalk.analysis.rows import last_row_length
from ropewalk.analysis.training import Training
from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.core.encoding import Encoding
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.regions import Identity


def critical_dimension(geometry: RopeGeometry) -> int:
    """d_tcd = 2 ceil((d / 2) log_b(L0 / 2 pi)): channels whose pairs complete a turn in training.

    d  rotary_dim, b  rope_theta. Between 0 and d.

    Source: Liu et al. 2023, arXiv:2310.05209; Shang et al. 2025, LongRoPE2, arXiv:2502.20082.
    """
    turns = math.log(geometry.trained_length / (2 * math.pi)) / math.log(geometry.rope_theta)
    pairs = math.ceil(geometry.rotary_dim / 2 * turns)
    return min(max(2 * pairs, 0), geometry.rotary_dim)


def turns_in_training(trained: Tensor, trained_length: int) -> Tensor:
    """Turns ``[f]`` of each pair inside the trained length."""
    return trained * trained_length / (2 * math.pi)


def pair_facts(
    encoding: Encoding, trained: Tensor, training: Training, length: int
) -> list[Record]:
    """What ``inspect`` says of each pair, of the last row of ``length`` tokens.

    trained   frequencies up to the trained length L0, of which ``turns_in_training`` are counted
    training  all stages: a pair is ``out_of_range`` if it completed no turn in any of them and
              now reaches an angle beyond all that they showed

    Raises RopewalkError for a map over more than 2^24 tokens.
    """
    trained_length = encoding.geometry.trained_length
    seen = last_row_length(encoding, length)
    inv_freq = encoding.rotation.inv_freq(seen)
    distance = torch.tensor(largest_distance(encoding, length), dtype=torch.float64)
    largest = encoding.rotation.angles(distance, seen)
    columns = (
        inv_freq,
        turns_in_training(trained, trained_length),
        training.largest_angles,
        largest,
        training.leaves(largest),
    )
    return [
        {
            "pair": pair,
            "inv_freq": now,
            "wavelength": 2 * math.pi / now if now > 0 else None,
            "turns_in_training": turns,
            "largest_trained_angle": before,
            "largest_angle": angle,
            "out_of_range": flag,
        }
        for pair, (now, turns, before, angle, flag) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]


def wavelengths(case: Case) -> Record:
    """Tokens that each pair takes for a turn, with each method; None: it does not rotate.

    ``turns_in_training`` counts the turns of each pair inside the trained length, unscaled.
    """

    def facts(encoding: Encoding) -> Record:
        pairs = pair_facts(encoding, case.trained, case.training, case.context_length)
        return {"wavelengths": [pair["wavelength"] for pair in pairs]}

    return {"turns_in_training": _turns(case), "methods": case.each(facts)}


def reach(case: Case) -> Record:
    """The largest angle of each pair, in units of L0 of its trained steps.

    From 1 on, a pair that completed no turn in training is ``out_of_range``.
    ``turns_in_training`` as in ``wavelengths``.
    """

    def facts(encoding: Encoding) -> Record:
        pairs = pair_facts(encoding, case.trained, case.training, case.context_length)
        return {
            "reach": [_ratio(pair["largest_angle"], pair["turns_in_training"]) for pair in pairs],
            "out_of_range": [pair["out_of_range"] for pair in pairs],
        }

    return {"turns_in_training": _turns(case), "methods": case.each(facts)}


def safe_length(encoding: Encoding, training: Training) -> int | None:
    """The largest length N at which no pair leaves ``training`` with L = N (a settled L where set).

    None where there is none up to 2^40 tokens, or where a position map or start tokens decide,
    not frequencies. By bisection: in each of the two spans, up to L0 and beyond, a pair leaves
    its range once.
    """
    if encoding.position_map != Identity() or not encoding.rotation.shift_invariant:
        return None
    trained_length, settled = encoding.geometry.trained_length, encoding.settled_length

    def safe(length: int) -> bool:
        theta = encoding.rotation.inv_freq(settled or max(length, trained_length))
        return not training.leaves((length - 1) * theta).any()

    if safe(LARGEST_LENGTH):
        return None
    good, bad = (trained_length, LARGEST_LENGTH) if safe(trained_length) else (1, trained_length)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if safe(middle) else (good, middle)
    return good


def _turns(case: Case) -> list[float]:
    turns: list[float] = turns_in_training(case.trained, case.trained_length).tolist()
    return turns


def _ratio(angle: float, turns: float) -> float | None:
    """None for a pair that did not rotate in training."""
    return angle / (2 * math.pi * turns) if turns > 0 else None
