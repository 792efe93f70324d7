"""Fixed schedules: what a search starts from and has to beat, at one length."""

from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding
from ropewalk.searching.candidate import Candidate, Schedule

NAMES = ("none", "linear", "ntk_aware", "dynamic_ntk", "ntk_by_parts", "yarn", "llama3")
"""One map, one rotation, no parameter but the factor."""
WITH_RAMP = ("ntk_by_parts", "yarn", "llama3")
"""Those that need an even rotary_dim."""


def fixed_schedules(geometry: RopeGeometry, length: int) -> tuple[Schedule, ...]:
    """The published ones, without those that an odd rotary_dim has not; equal ones once.

    length  N, in tokens
    """
    found: dict[Candidate, Schedule] = {}
    for name in NAMES:
        if name not in WITH_RAMP or geometry.rotary_dim % 2 == 0:
            schedule = published(name, geometry, length)
            found.setdefault(schedule.candidate, schedule)
    return tuple(found.values())


def published(name: str, geometry: RopeGeometry, length: int) -> Schedule:
    """One of ``NAMES``, with factor N / L0, or at length N where it follows the length."""
    whole = {"none": "none", "dynamic_ntk": f"dynamic_ntk:policy=fixed,length={length}"}
    spec = whole.get(name, f"{name}:factor={stretch(geometry, length):.12g}")
    return _schedule(spec, geometry, length)


def closed_form_ramp(geometry: RopeGeometry, length: int) -> Schedule:
    """NTK-by-parts from 4 turns to 1 instead of YaRN's 32 to 1: what a ramp by hand gives.

    Source: none; a candidate in every search, and beside every winner (docs/adapt.md).
    """
    factor = stretch(geometry, length)
    return _schedule(f"ntk_by_parts:factor={factor:.12g},beta_fast=4", geometry, length)


def stretch(geometry: RopeGeometry, length: int) -> float:
    """s = N / L0, at least 1."""
    return max(1.0, length / geometry.trained_length)


def _schedule(spec: str, geometry: RopeGeometry, length: int) -> Schedule:
    rotation = encoding(spec, geometry).rotation
    return Schedule(name=spec, candidate=Candidate.from_frequencies(rotation, length))
