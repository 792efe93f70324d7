"""Encodings under each length policy, as tests ask them."""

from ropewalk.core.lengths import (
    AtBirth,
    Fixed,
    PerQuery,
    SimulatedAtBirth,
    WholeSequence,
)

L0, STEP = 64, 8


POLICIES = (
    PerQuery(trained_length=L0, step=1),
    PerQuery(trained_length=L0, step=STEP),
    Fixed(length=L0),
    WholeSequence(trained_length=L0),
    AtBirth(trained_length=L0),
    SimulatedAtBirth(trained_length=L0),
)
