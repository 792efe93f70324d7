"""The words for length policies, and the encodings that need none."""

from typing import Literal

from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import (
    AtBirth,
    Fixed,
    LengthPolicy,
    PerQuery,
    SimulatedAtBirth,
    WholeSequence,
)
from ropewalk.core.score_mods import ScoreMod

Policy = Literal["per_query", "fixed", "whole_sequence", "at_birth", "normxu"]

STEPS = 32
"""Steps of a trained length, by default: 8,192 tokens make steps of 256, worth 0.1 % of perplexity
at most on the models measured, at a cost near that of a static method."""


def static_encoding(
    geometry: RopeGeometry, frequencies: Frequencies | None, *score_mods: ScoreMod
) -> Encoding:
    """An encoding whose frequencies do not depend on the context length; None rotates nothing."""
    return Encoding(
        geometry=geometry,
        frequencies=frequencies,
        length_policy=Fixed(length=geometry.trained_length),
        score_mods=score_mods,
    )


def length_policy(
    policy: Policy, *, step: int | None, length: int | None, trained_length: int
) -> LengthPolicy:
    """The policy of that name.

    step    tokens that share a base, with per_query only; by default L0 / 32, at least 1
    length  L, with fixed only and required there

    Raises RopewalkError for a parameter that the policy does not have.
    """
    for name, tokens in (("step", step), ("length", length)):
        if tokens is not None and tokens > LARGEST_LENGTH:
            raise RopewalkError(f"{name}={tokens}: expected at most 2^40 tokens")
    if policy != "per_query" and step not in (None, 1):
        raise RopewalkError(f"step={step} with policy={policy}: only per_query has steps; drop it")
    if policy != "fixed" and length is not None:
        raise RopewalkError(
            f"length={length} with policy={policy}: only fixed has a length; "
            "drop it or say policy=fixed"
        )
    if policy == "per_query":
        step = max(1, trained_length // STEPS) if step is None else step
        return PerQuery(trained_length=trained_length, step=step)
    if policy == "whole_sequence":
        return WholeSequence(trained_length=trained_length)
    if policy == "at_birth":
        return AtBirth(trained_length=trained_length)
    if policy == "normxu":
        return SimulatedAtBirth(trained_length=trained_length)
    if length is None:
        raise RopewalkError("policy=fixed without length: expected for example length=8192")
    return Fixed(length=length)
