"""The mutants: a law that cannot fail proves nothing."""

from dataclasses import replace

import pytest
from laws import (
    law_attention_factor_enters_a_logit_squared,
    law_bf16_input_keeps_far_positions_apart,
    law_bounds_never_fall,
    law_constant_up_to_the_trained_length,
    law_distances_stay_in_range,
    law_fastest_pair_is_kept,
    law_follows_the_base,
    law_regions_cover_the_triangle_once,
    law_score_is_the_equation,
    law_scores_depend_on_differences_alone,
    law_slowest_pair_is_divided,
)

from mutants import (
    CentredPositions,
    Falling,
    GrowsBeforeTheTrainedLength,
    GrowsToTheContext,
    IgnoredTheta,
    InvertedRamp,
    Overlapping,
    PositionsInBf16,
    ReachesOneTokenFarther,
    ReachesOneTokenLess,
    Windows,
    rotate_backwards,
    rotate_other_pairing,
    rotate_with_scale_twice,
)
from representative import (
    GEOMETRY,
    L0,
    representative,
)
from ropewalk.analysis.distances import relative_positions
from ropewalk.core.encoding import Encoding
from ropewalk.core.lengths import Fixed
from ropewalk.core.regions import Identity
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.rerope import ReRoPE
from ropewalk.positions.string import ShiftedRoPE


def test_an_inverted_ramp_is_caught():
    mutant = NTKByParts(geometry=GEOMETRY, factor=4, ramp=InvertedRamp())
    with pytest.raises(AssertionError):
        law_fastest_pair_is_kept(mutant)
    with pytest.raises(AssertionError):
        law_slowest_pair_is_divided(mutant, 4)


def test_an_ignored_theta_is_caught():
    with pytest.raises(AssertionError):
        law_follows_the_base(lambda base: IgnoredTheta(replace(GEOMETRY, rope_theta=base)))


def test_a_flipped_sign_is_caught():
    with pytest.raises(AssertionError):
        law_score_is_the_equation(representative("none").frequencies, rotate_backwards)


def test_the_other_pairing_is_caught():
    with pytest.raises(AssertionError):
        law_score_is_the_equation(representative("none").frequencies, rotate_other_pairing)


def test_positions_in_bf16_are_caught():
    with pytest.raises(AssertionError):
        law_bf16_input_keeps_far_positions_apart(PositionsInBf16(GEOMETRY))


def test_a_scale_applied_twice_is_caught():
    with pytest.raises(AssertionError):
        law_attention_factor_enters_a_logit_squared(
            representative("yarn").frequencies, rotate_with_scale_twice
        )


def test_positions_that_are_not_linear_are_caught():
    with pytest.raises(AssertionError):
        law_scores_depend_on_differences_alone(CentredPositions(GEOMETRY))


def test_growth_below_the_trained_length_is_caught():
    with pytest.raises(AssertionError):
        law_constant_up_to_the_trained_length(GrowsBeforeTheTrainedLength(GEOMETRY))


@pytest.mark.parametrize("far_start", [7, 9])
def test_regions_off_by_one_are_caught(far_start):
    law_regions_cover_the_triangle_once(Windows(near_end=8, far_start=8))
    with pytest.raises(AssertionError):
        law_regions_cover_the_triangle_once(Windows(near_end=8, far_start=far_start))


def test_an_overlap_at_the_edge_of_a_window_is_caught():
    law_regions_cover_the_triangle_once(ReRoPE(window=8))
    with pytest.raises(AssertionError):
        law_regions_cover_the_triangle_once(Overlapping(window=8))


def test_bounds_that_fall_are_caught():
    with pytest.raises(AssertionError):
        law_bounds_never_fall(Falling())


@pytest.mark.parametrize(
    ("right", "mutant"),
    [
        (
            DualChunk(chunk_size=18, local_window=6),
            GrowsToTheContext(chunk_size=18, local_window=6),
        ),
        (ShiftedRoPE(shift=8, window=2), ReachesOneTokenFarther(shift=8, window=2)),
        (ShiftedRoPE(shift=8, window=2), ReachesOneTokenLess(shift=8, window=2)),
    ],
)
def test_a_promise_off_by_one_token_is_caught(right, mutant):
    def check(position_map):
        built = replace(representative("none"), position_map=position_map)
        law_distances_stay_in_range(
            lambda length: relative_positions(built, length), position_map, trained_length=24
        )

    check(right)
    with pytest.raises(AssertionError):
        check(mutant)


def test_a_gap_between_regions_shows_in_the_relative_positions():
    gap = Encoding(
        geometry=GEOMETRY,
        frequencies=representative("none").frequencies,
        length_policy=Fixed(length=L0),
        position_map=Windows(near_end=8, far_start=9),
    )
    assert gap.position_map != Identity()
    assert relative_positions(gap, 16)[10, 2].isnan()
