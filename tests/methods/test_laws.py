"""The laws over the table: every method keeps what it promises."""

import math

import pytest
import torch
from laws import (
    LENGTHS,
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
    plain_rope,
)
from torch.testing import assert_close

from attention_inputs import qkv, trained
from representative import (
    CHANGES,
    DIM,
    L0,
    ONLY_COST,
    PAIRED_CHANGES,
    PARAMETERS,
    THETA,
    representative,
)
from ropewalk.analysis.distances import relative_positions
from ropewalk.attention.reference import attend_reference
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import Fixed
from ropewalk.methods.method import Promise
from ropewalk.methods.parameters import parameters_of
from ropewalk.methods.spec import NAMES, NATIVE
from ropewalk.methods.table import METHODS

ROTATING = [n for n in NAMES if representative(n).frequencies is not None]


def promising(promise):
    return [name for name, method in METHODS.items() if promise in method.promises]


def all_parameters():
    return [(m.name, p) for m in METHODS.values() for p in parameters_of(m)]


def law_distances_depend_on_differences_alone(distances):
    """Every diagonal of the matrix is constant."""
    assert_close(distances[1:, 1:], distances[:-1, :-1], rtol=0, atol=1e-12, equal_nan=True)


def law_is_rope_at(frequencies, length):
    assert_close(frequencies.inv_freq(length), plain_rope(), rtol=1e-14, atol=0)
    assert frequencies.attention_factor(length) == 1.0


def law_pairs_never_turn_backwards(frequencies):
    """Real, finite and not negative at every length, and no slower pair before a faster one."""
    for length in (2, *LENGTHS, 2**30):
        theta = frequencies.inv_freq(length)
        assert theta.dtype == torch.float64
        assert torch.isfinite(theta).all()
        assert (theta >= 0).all()
        assert (theta.diff() <= 0).all()


def test_the_representatives_cover_the_table_exactly():
    assert {*PARAMETERS, NATIVE} == set(NAMES)


def test_every_promise_is_made_by_some_method_and_tested():
    for promise in Promise:
        assert promising(promise)


@pytest.mark.parametrize("name", NAMES)
def test_regions_cover_the_triangle_once(name):
    built = representative(name)
    law_regions_cover_the_triangle_once(built.position_map)
    law_regions_cover_the_triangle_once(built.position_map, L0 + 64)
    law_bounds_never_fall(built.position_map, L0 + 64)
    distances = relative_positions(built, 48)
    visible = torch.ones(48, 48, dtype=torch.bool).tril()
    assert torch.equal(distances.isnan(), ~visible)


@pytest.mark.parametrize("name", NAMES)
def test_what_rotates_nothing_says_so(name):
    promised = [*promising(Promise.ROTATES_NOTHING)]
    assert (representative(name).frequencies is None) == (name in promised)


@pytest.mark.parametrize("name", NAMES)
def test_what_has_to_be_trained_says_so(name):
    assert representative(name).trained == (name in promising(Promise.TRAINED))


@pytest.mark.parametrize("name", [NATIVE, *promising(Promise.ONE_MAP)])
def test_one_map_shows_true_distances(name):
    index = torch.arange(48, dtype=torch.float64)
    distances = relative_positions(representative(name), 48)
    expected = (index[:, None] - index).masked_fill(index[None] > index[:, None], math.nan)
    assert_close(distances, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", promising(Promise.SHIFT_INVARIANT))
def test_scores_depend_on_differences_alone(name):
    built = representative(name)
    assert built.frequencies.shift_invariant
    law_scores_depend_on_differences_alone(built.frequencies)
    law_distances_depend_on_differences_alone(relative_positions(built, 2 * L0))


@pytest.mark.parametrize("name", ["self_extend", "dual_chunk"])
def test_groups_and_chunks_depend_on_where_a_pair_stands(name):
    assert Promise.SHIFT_INVARIANT not in METHODS[name].promises
    with pytest.raises(AssertionError):
        law_distances_depend_on_differences_alone(relative_positions(representative(name), 2 * L0))


@pytest.mark.parametrize("name", promising(Promise.DISTANCES_IN_RANGE))
@pytest.mark.parametrize("trained_length", [24, 37])
def test_distances_stay_in_range_up_to_the_reach(name, trained_length):
    geometry = RopeGeometry(head_dim=DIM, rope_theta=THETA, trained_length=trained_length)
    built = representative(name, geometry)
    law_distances_stay_in_range(
        lambda length: relative_positions(built, length), built.position_map, trained_length
    )


@pytest.mark.parametrize("name", ["leaky_rerope", "self_extend"])
@pytest.mark.parametrize("factor", [1, 2.5, 8])
def test_a_map_made_for_a_factor_reaches_it(name, factor):
    built = representative(name, factor=factor)
    assert built.position_map.reach(L0) >= factor * L0


def test_distances_leave_the_range_where_they_are_stretched_on_purpose():
    assert Promise.DISTANCES_IN_RANGE not in METHODS["inverse_leaky_rerope"].promises
    stretched = relative_positions(representative("inverse_leaky_rerope"), L0)
    assert stretched.nan_to_num(0).max() > L0


def test_start_tokens_break_shift_invariance_and_say_so():
    frequencies = representative("longrope", start_tokens=16).frequencies
    assert not frequencies.shift_invariant
    with pytest.raises(AssertionError):
        law_scores_depend_on_differences_alone(frequencies)


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("name", ROTATING)
def test_scores_are_the_equation(name, pairing):
    law_score_is_the_equation(representative(name).frequencies, pairing=pairing)


@pytest.mark.parametrize("name", ROTATING)
def test_the_attention_factor_enters_a_logit_squared(name):
    law_attention_factor_enters_a_logit_squared(representative(name).frequencies)


@pytest.mark.parametrize("name", promising(Promise.FACTOR_ONE_IS_ROPE))
def test_factor_one_is_rope(name):
    built = representative(name, factor=1)
    law_is_rope_at(built.frequencies, L0)
    plain = relative_positions(representative("none"), 2 * L0)
    assert_close(relative_positions(built, 2 * L0), plain, rtol=0, atol=1e-12, equal_nan=True)
    assert built.query_scale(torch.tensor(2 * L0)).item() == 1


@pytest.mark.parametrize("name", promising(Promise.TRAINED_LENGTH_IS_ROPE))
def test_the_trained_length_is_rope(name):
    law_is_rope_at(representative(name).frequencies, L0)


@pytest.mark.parametrize("name", promising(Promise.FASTEST_PAIR_KEPT))
def test_the_fastest_pair_is_kept(name):
    law_fastest_pair_is_kept(representative(name).frequencies)


@pytest.mark.parametrize("name", promising(Promise.SLOWEST_PAIR_DIVIDED))
@pytest.mark.parametrize("factor", [1, 2.5, 32])
def test_the_slowest_pair_is_divided_by_the_factor(name, factor):
    law_slowest_pair_is_divided(representative(name, factor=factor).frequencies, factor)


@pytest.mark.parametrize("name", ROTATING)
def test_frequencies_are_constant_up_to_the_trained_length(name):
    law_constant_up_to_the_trained_length(representative(name).frequencies)


@pytest.mark.parametrize("name", ROTATING)
def test_pairs_never_turn_backwards(name):
    law_pairs_never_turn_backwards(representative(name).frequencies)


@pytest.mark.parametrize("name", ROTATING)
def test_length_dependence_is_as_promised(name):
    frequencies = representative(name).frequencies
    promised = name in promising(Promise.LENGTH_DEPENDENT)
    assert frequencies.length_dependent == promised
    same = torch.equal(frequencies.inv_freq(L0), frequencies.inv_freq(16 * L0))
    assert same != promised


@pytest.mark.parametrize("name", ROTATING)
def test_static_methods_see_the_trained_length(name):
    built = representative(name)
    if not built.frequencies.length_dependent:
        assert built.length_policy == Fixed(length=L0)


@pytest.mark.parametrize("name", NAMES)
def test_rotation_only_is_as_promised(name):
    """A method that does not promise it has a score modification at some parameter."""
    built = [representative(name)]
    built += [representative(name, **{p: value}) for p, value in CHANGES.get(name, {}).items()]
    promised = [NATIVE, *promising(Promise.ROTATION_ONLY)]
    bare = [not (b.score_mods or b.learned or b.values_encoded or b.inputs) for b in built]
    assert all(bare) == (name in promised)


@pytest.mark.parametrize("name", [name for name in ROTATING if name not in (NATIVE, "abf")])
def test_frequencies_follow_the_base_of_the_checkpoint(name):
    def frequencies_of(base):
        geometry = RopeGeometry(head_dim=DIM, rope_theta=base, trained_length=L0)
        return representative(name, geometry).frequencies

    law_follows_the_base(frequencies_of)


@pytest.mark.parametrize("name", ROTATING)
def test_bf16_input_keeps_far_positions_apart(name):
    law_bf16_input_keeps_far_positions_apart(representative(name).frequencies)


def test_the_changes_cover_every_parameter():
    covered = {(name, p) for name, changes in CHANGES.items() for p in changes}
    assert covered | set(PAIRED_CHANGES) == set(all_parameters())


@pytest.mark.parametrize(("name", "parameter"), all_parameters())
def test_every_parameter_changes_the_encoding_s_output(name, parameter):
    paired = (name, parameter) in PAIRED_CHANGES
    before, after = (
        PAIRED_CHANGES[name, parameter] if paired else ({}, {parameter: CHANGES[name][parameter]})
    )
    first = observed(representative(name, **before))
    second = observed(representative(name, **after))
    changed = (first - second).abs().max().item() > 1e-6
    assert changed != ((name, parameter) in ONLY_COST)


def observed(built):
    """What attention would see of an encoding, over rows on both sides of the trained length."""
    rows = torch.tensor([[0, 3, 100, L0 - 1, L0, L0 + 1, 4 * L0]])
    seen = [built.query_scale(rows)[0], relative_positions(built, L0 + 200).nan_to_num(0).flatten()]
    seen += [attended(built), embedded(built)]
    for sequence in (rows, rows[:, :3]):
        lengths = built.row_lengths(sequence, sequence.amax(-1) + 1)
        for row, length in zip(sequence[0], lengths[0].tolist(), strict=True):
            if built.frequencies is not None:
                seen.append(built.frequencies.angles(row, length))
                seen.append(torch.tensor([built.frequencies.attention_factor(length)]).double())
    return torch.cat(seen)


def attended(built):
    """Two rows over 300 keys, with parameters of its own."""
    q, k, v = qkv(1, 3, 3, 2, 300, DIM, DIM)
    return attend_reference(q, k, v, built, parameters=trained(built, 3, 300, 2)).flatten()


def embedded(built):
    """What is added to the embeddings of some positions, and the size of its tables."""
    found = [torch.zeros(1, dtype=torch.float64)]
    for each in built.inputs:
        parameters = {name: value.double() for name, value in each.init(DIM).items()}
        found.append(each.added(parameters, torch.arange(0, L0, 7), DIM).flatten())
        found.append(torch.tensor([sum(p.numel() for p in parameters.values())]).double())
    return torch.cat(found) if built.inputs else found[0]
