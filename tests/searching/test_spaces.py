"""Schedules from vectors: monotone by construction, and where they begin."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import ropewalk as rw
from ropewalk.searching.candidate import Candidate
from ropewalk.searching.monotone import MonotoneSpace
from ropewalk.searching.ramp_space import RampSpace
from ropewalk.searching.schedules import closed_form_ramp, fixed_schedules

GEOMETRY = rw.RopeGeometry(head_dim=64, rope_theta=10_000.0, trained_length=256)
NUMBERS = st.floats(-30, 5)


def divisors_of(spec):
    """theta_i / theta_i' of a spec, from its published frequencies."""
    return GEOMETRY.inv_freq() / rw.encoding(spec, GEOMETRY).rotation.inv_freq(2048)


@given(st.lists(NUMBERS, min_size=9, max_size=9), st.integers(2, 64))
def test_every_vector_is_a_schedule_that_never_falls(vector, pairs):
    space = MonotoneSpace(pairs=pairs, knots=8)
    logarithms, _ = space.logarithms(torch.tensor(vector, dtype=torch.float64))
    assert len(logarithms) == pairs
    assert (logarithms >= 0).all()
    assert (logarithms.diff() >= -1e-12).all()


def test_a_start_is_met_at_its_knots():
    """PI and NTK are straight lines in ln lambda, which knots follow but for the least step."""
    space = MonotoneSpace(pairs=32)
    for spec in ("ntk_aware:factor=8", "yarn:factor=8"):
        wanted = divisors_of(spec).log()
        candidate = Candidate.of(wanted.exp().tolist(), 1.2)
        found, magnitude = space.logarithms(space.vector(candidate))
        places = torch.linspace(0, 31, 8).round().long()
        assert (found - wanted)[places].abs().max() <= 8 * 0.02
        torch.testing.assert_close(magnitude.exp().item(), 1.2)


def test_the_ramp_begins_at_yarn_and_at_the_closed_form():
    space = RampSpace(geometry=GEOMETRY, length=2048)
    yarn, ramp = map(space.candidate, space.starts())
    specs = ("yarn:factor=8,truncate=false", "ntk_by_parts:factor=8,beta_fast=4,truncate=false")
    for found, spec in zip((yarn, ramp), specs, strict=True):
        torch.testing.assert_close(
            torch.tensor(found.divisors, dtype=torch.float64), divisors_of(spec), rtol=1e-5, atol=0
        )
    assert ramp.magnitude == 1
    torch.testing.assert_close(
        yarn.magnitude, rw.encoding("yarn:factor=8", GEOMETRY).rotation.attention_factor(2048),
        rtol=1e-5, atol=0,
    )  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_ramp_goes_back_to_its_point(point):
    space = RampSpace(geometry=GEOMETRY, length=2048)
    torch.testing.assert_close(
        torch.tensor(space.point(space.ramp(point))), torch.tensor(tuple(point)), rtol=0, atol=1e-6
    )


def test_fixed_schedules_are_the_methods_at_that_length():
    schedules = {each.name: each.candidate for each in fixed_schedules(GEOMETRY, 2048)}
    assert len(schedules) == 7
    for spec, candidate in schedules.items():
        torch.testing.assert_close(
            torch.tensor(candidate.divisors, dtype=torch.float64),
            divisors_of(spec),
            rtol=1e-5,
            atol=0,
        )
    ramp = closed_form_ramp(GEOMETRY, 2048)
    torch.testing.assert_close(
        torch.tensor(ramp.candidate.divisors, dtype=torch.float64),
        divisors_of("yarn:factor=8,beta_fast=4,attention_factor=1"),
        rtol=1e-5,
        atol=0,
    )
    assert ramp.candidate not in schedules.values()


def test_an_odd_rotary_dim_leaves_out_what_needs_a_ramp():
    odd = rw.RopeGeometry(head_dim=10, rope_theta=1e4, trained_length=64, partial_rotary_factor=0.7)
    names = [each.name.partition(":")[0] for each in fixed_schedules(odd, 128)]
    assert names == ["none", "linear", "ntk_aware", "dynamic_ntk"]


def test_schedules_multiply_where_one_lies_over_another():
    under = Candidate.of([1.0, 2.0, 4.0], 1.1)
    over = Candidate.of([1.0, 3.0, 8.0], 1.2)
    assert over.over(under) == Candidate.of([1.0, 6.0, 32.0], 1.32)
    assert over.over(None) == over
