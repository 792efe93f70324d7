"""The angle of every pair at every position."""

import math
from functools import partial

import torch

from ropewalk.analysis.case import LARGEST_TABLE, Case, Record, at_most
from ropewalk.analysis.pairs import turns_in_training
from ropewalk.analysis.rows import last_row_length
from ropewalk.core.encoding import Encoding

ROUNDED = 1 - 1e-12
"""An angle of exactly L0 steps counts as L0 steps, however it was rounded."""


def angles(*cases: Case) -> Record:
    """One panel a length and method: ``angles`` ``[position][pair]`` in radians.

    ``out_of_range``: a pair that never completed a turn in training is rotated as far as L0 of its
    trained steps or farther. Raises RopewalkError for a table that is too large to show.
    """
    return {"panels": [panel for case in cases for panel in case.each(partial(_panel, case))]}


def _panel(case: Case, encoding: Encoding) -> Record:
    length = case.context_length
    at_most(length, LARGEST_TABLE // encoding.geometry.rotary_dim)
    bound = 2 * math.pi * turns_in_training(case.trained, case.trained_length)
    rotated = encoding.rotation.angles(torch.arange(length), last_row_length(encoding, length))
    outside = (bound < 2 * math.pi) & (rotated >= bound * ROUNDED) & (rotated > 0)
    return {
        "context_length": length,
        "angles": rotated.tolist(),
        "out_of_range": outside.tolist(),
    }
