"""Position maps show what their papers say."""

import cmath
import json
import math
from dataclasses import replace

import pytest
import torch
from closed_forms import dual_chunk, leaky, longlm, rerope, self_extend, string, vectors
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from places import GOLDENS
from ropewalk.analysis.distances import relative_positions
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.tiled import attend
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding
from ropewalk.methods.unscaled import none
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.leaky_rerope import LeakyReRoPE
from ropewalk.positions.rerope import ReRoPE
from ropewalk.positions.self_extend import LongLMSelfExtend, SelfExtend
from ropewalk.positions.string import ShiftedRoPE

CASES = json.loads((GOLDENS / "cases.json").read_text())["cases"]


GEOMETRY = RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=256)


def matrix(distance, length):
    rows = [[distance(m, n) if n <= m else math.nan for n in range(length)] for m in range(length)]
    return torch.tensor(rows, dtype=torch.float64)


def shown(position_map, length):
    return relative_positions(replace(none(GEOMETRY), position_map=position_map), length)


def assert_shows(position_map, distance, length):
    expected = matrix(distance, length)
    assert_close(shown(position_map, length), expected, rtol=0, atol=1e-12, equal_nan=True)


SIZES, LENGTHS = st.integers(1, 40), st.integers(1, 70)


def position_maps():
    """Maps with their closed forms."""
    slopes = st.floats(1 / 16, 64)
    return st.one_of(
        SIZES.map(lambda w: (ReRoPE(window=w), rerope(w))),
        st.builds(lambda w, k: (LeakyReRoPE(window=w, slope=k), leaky(w, k)), SIZES, slopes),
        st.builds(
            lambda g, w: (SelfExtend(group_size=g, window=w), self_extend(g, w)), SIZES, SIZES
        ),
        st.builds(
            lambda g, w: (LongLMSelfExtend(group_size=g, window=w), longlm(g, w)), SIZES, SIZES
        ),
        st.builds(
            lambda s, w: (DualChunk(chunk_size=s, local_window=w), dual_chunk(s, w)), SIZES, SIZES
        ),
        st.builds(
            lambda w, more: (ShiftedRoPE(shift=w + more, window=w), string(w + more, w)),
            SIZES,
            st.integers(0, 40),
        ),
    )


# The closed forms: distance shown to query m and key n.


@given(position_maps(), LENGTHS)
@settings(max_examples=120, deadline=None)
def test_every_map_shows_its_closed_form(pair, length):
    position_map, distance = pair
    assert_shows(position_map, distance, length)


@given(position_maps(), LENGTHS)
@settings(max_examples=80, deadline=None)
def test_every_pair_lies_in_one_region_and_bounds_never_fall(pair, length):
    """Every key of a row is in one region's band, and bands move forward with the row."""
    position_map, _ = pair
    rows = torch.arange(length)
    bounds = [region.key_bounds(rows) for region in position_map.regions]
    for m in range(length):
        for n in range(m + 1):
            assert sum(int(start[m]) <= n < int(stop[m]) for start, stop in bounds) == 1
    for start, stop in bounds:
        assert start.dtype == stop.dtype == torch.int64
        assert (start >= 0).all()
        assert (start.diff() >= 0).all()
        assert (stop.diff() >= 0).all()


@given(position_maps(), st.integers(2, 40))
@settings(max_examples=150, deadline=None)
@example((DualChunk(chunk_size=3, local_window=9), dual_chunk(3, 9)), 8)
@example((DualChunk(chunk_size=6, local_window=2), dual_chunk(6, 2)), 8)
@example((DualChunk(chunk_size=6, local_window=3), dual_chunk(6, 3)), 8)
@example((ReRoPE(window=7), rerope(7)), 8)
@example((ReRoPE(window=8), rerope(8)), 8)
@example((LeakyReRoPE(window=8, slope=2.0), leaky(8, 2.0)), 8)
@example((SelfExtend(group_size=3, window=8), self_extend(3, 8)), 8)
@example((SelfExtend(group_size=3, window=9), self_extend(3, 9)), 8)
@example((ShiftedRoPE(shift=8, window=2), string(8, 2)), 8)
@example((ShiftedRoPE(shift=9, window=2), string(9, 2)), 8)
def test_reach_is_the_longest_context_in_range(pair, trained_length):
    position_map, distance = pair
    reach = position_map.reach(trained_length)
    longest = 5 * trained_length + 200 if reach is None else min(reach, 400)
    # A slope that is no power of two leaves rounding.
    slack = 1e-9 if isinstance(position_map, LeakyReRoPE) else 0
    # Key 0 is shown as far as any other key (below), so that its column decides.
    assert all(distance(m, 0) < trained_length + slack for m in range(longest))
    if reach is not None and reach <= 400:
        assert distance(reach, 0) >= trained_length - slack


@given(position_maps(), LENGTHS)
@settings(max_examples=40, deadline=None)
def test_up_to_any_row_no_key_is_shown_farther_than_the_first(pair, length):
    position_map, _ = pair
    distances = shown(position_map, length).nan_to_num(-1)
    farthest, first = distances.amax(dim=1).cummax(dim=0), distances[:, 0].cummax(dim=0)
    assert torch.equal(farthest.values, first.values)


@pytest.mark.parametrize(
    ("position_map", "distance"),
    [
        (ReRoPE(window=100), rerope(100)),
        (SelfExtend(group_size=7, window=100), self_extend(7, 100)),
        (DualChunk(chunk_size=100, local_window=30), dual_chunk(100, 30)),
        (ShiftedRoPE(shift=1000, window=30), string(1000, 30)),
    ],
)
def test_far_positions_stay_whole(position_map, distance):
    """Near position 10^9 every region answers in exact integers."""
    rows = 10**9 + torch.arange(0, 500, 13)[:, None]
    keys = 10**9 - torch.arange(0, 3000, 17)
    found = torch.zeros(rows.shape[0], keys.shape[0], dtype=torch.float64)
    for region in position_map.regions:
        difference = region.query_positions(rows) - region.key_positions(keys)
        assert difference.dtype == torch.float64
        found += torch.where(region.covers(rows, keys), difference, 0.0)
    expected = [[distance(m, n) for n in keys.tolist()] for m in rows[:, 0].tolist()]
    assert torch.equal(found, torch.tensor(expected, dtype=torch.float64))


GOLDEN_MAPS = {
    "rerope": lambda p: ReRoPE(window=p["window"]),
    "self_extend": lambda p: SelfExtend(group_size=p["group"], window=p["window"]),
    "dca": lambda p: DualChunk(chunk_size=p["chunk"], local_window=p["context"] - p["chunk"]),
    "string": lambda p: ShiftedRoPE(shift=p["shift"], window=p["window"]),
}


# Goldens.


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c["id"]) for c in CASES if c["kind"] == "relative_distance"]
)
def test_distances_are_golden(case):
    parameters = case["params"]
    expected = [
        [math.nan if value is None else value for value in row]
        for row in case["expected"]["matrix"]
    ]
    actual = shown(GOLDEN_MAPS[parameters["method"]](parameters), parameters["tokens"])
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert_close(actual, wanted, rtol=0, atol=1e-12, equal_nan=True)


# What papers say about their maps.


def test_dual_chunk_at_its_defaults_is_true_up_to_a_quarter_and_stays_below_the_trained_length():
    distances = relative_positions(encoding("dual_chunk", GEOMETRY), 2000)
    true = matrix(lambda m, n: m - n, 2000)
    wrong = (distances != true) & ~true.isnan()
    assert true[wrong].min() == 65
    assert distances.nan_to_num(0).max() == 255


def test_chunkllama_is_true_up_to_an_eighth_and_stays_at_three_quarters():
    """Its local window is L0 / 8 = 32, and the position that clamps is 3/4 L0 = 192 itself."""
    built = encoding("dual_chunk:rule=chunkllama", GEOMETRY)
    distances = relative_positions(built, 2000)
    true = matrix(lambda m, n: m - n, 2000)
    wrong = (distances != true) & ~true.isnan()
    assert true[wrong].min() == 34
    assert distances.nan_to_num(0).max() == 192
    assert_shows(built.position_map, released_chunkllama(160, 192), 700)


def released_chunkllama(chunk_length, largest):
    def distance(m, n):
        apart = m // chunk_length - n // chunk_length
        inner = m % chunk_length
        query = inner if apart == 0 else min(inner + chunk_length, largest)
        return (largest if apart > 1 else query) - n % chunk_length

    return distance


def test_chunkllama_s_scale_by_row_is_less_than_by_call_in_the_middle_of_a_prompt():
    (scale,) = encoding("dual_chunk:rule=chunkllama", GEOMETRY).score_mods
    rows = torch.tensor([0, 255, 256, 1023, 2047])
    by_row = [(0.05 * math.log(max(1, (m + 1) / 256)) + 1) ** 2 for m in rows.tolist()]
    assert_close(
        scale.query_scale(rows), torch.tensor(by_row, dtype=torch.float64), rtol=1e-14, atol=0
    )
    assert scale.query_scale(torch.tensor(1023)).item() == pytest.approx(1.143, abs=5e-4)
    assert scale.query_scale(torch.tensor(2047)).item() == pytest.approx(1.219, abs=5e-4)


def test_longlm_s_shift_is_off_by_the_remainder_of_window_over_group():
    """W = 30, G = 7: 30 / 7 = 4.2857 against 4, so every far distance is 0.2857 shorter."""
    parameters = {"group_size": 7, "window": 30}
    paper = relative_positions(encoding("self_extend", GEOMETRY, **parameters), 100)
    code = relative_positions(encoding("self_extend", GEOMETRY, rule="longlm", **parameters), 100)
    far = matrix(lambda m, n: float(m - n >= 30), 100) == 1
    assert_close((paper - code)[far], torch.full_like(paper[far], 2 / 7), rtol=0, atol=1e-12)
    assert torch.equal(paper[~far].nan_to_num(0), code[~far].nan_to_num(0))


def test_longlm_s_shift_is_the_paper_s_where_the_group_divides_the_window():
    parameters = {"group_size": 4, "window": 32}
    paper = encoding("self_extend", GEOMETRY, **parameters)
    code = encoding("self_extend", GEOMETRY, rule="longlm", **parameters)
    assert torch.equal(
        relative_positions(paper, 90).nan_to_num(0), relative_positions(code, 90).nan_to_num(0)
    )


def test_string_s_released_code_sharpens_by_yarn_s_factor_at_two():
    paper, code = encoding("string", GEOMETRY), encoding("string:rule=code", GEOMETRY)
    assert paper.position_map == code.position_map
    assert paper.score_mods == ()
    assert code.query_scale(torch.tensor(7)).item() == pytest.approx(
        (0.1 * math.log(2) + 1) ** 2, rel=1e-14
    )


def test_inverse_leaky_rerope_shows_in_training_what_plain_rope_needs_later():
    """kexue.fm/archives/9728: trained at 512 with w = 128 and k = 1/16, run at 4096."""
    geometry = RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=512)
    built = encoding("inverse_leaky_rerope", geometry)
    assert built.position_map == LeakyReRoPE(window=128, slope=1 / 16)
    assert relative_positions(built, 512)[511, 0] == 128 + (511 - 128) * 16
    assert relative_positions(built, 512)[511, 0] > 4095


def attention_by_hand(q, k, v, distance):
    width = q.shape[-1]
    theta = [1e4 ** (-2 * i / width) for i in range(width // 2)]
    out = torch.zeros_like(v)
    for m in range(q.shape[2]):
        logits = []
        for n in range(m + 1):
            total = 0.0
            for i, speed in enumerate(theta):
                one = complex(q[0, 0, m, i], q[0, 0, m, i + width // 2])
                other = complex(k[0, 0, n, i], k[0, 0, n, i + width // 2])
                total += (one * other.conjugate() * cmath.exp(1j * distance(m, n) * speed)).real
            logits.append(total / math.sqrt(width))
        weights = torch.tensor(logits, dtype=torch.float64).softmax(0)
        out[0, 0, m] = weights @ v[0, 0, : m + 1]
    return out


# Attention sees what the matrix says.


@pytest.mark.parametrize(
    ("position_map", "distance"),
    [
        (ReRoPE(window=5), rerope(5)),
        (LeakyReRoPE(window=5, slope=3.0), leaky(5, 3.0)),
        (LeakyReRoPE(window=5, slope=0.25), leaky(5, 0.25)),
        (SelfExtend(group_size=3, window=7), self_extend(3, 7)),
        (LongLMSelfExtend(group_size=3, window=7), longlm(3, 7)),
        (DualChunk(chunk_size=7, local_window=3), dual_chunk(7, 3)),
        (ShiftedRoPE(shift=9, window=2), string(9, 2)),
    ],
)
def test_attention_scores_the_distances_of_the_map(position_map, distance):
    q, k, v = vectors(23)
    built = replace(none(GEOMETRY), position_map=position_map)
    expected = attention_by_hand(q, k, v, distance)
    # Logits of size 16 turned in float64 at angles up to 23.
    assert_close(attend_reference(q, k, v, built), expected, rtol=0, atol=1e-12)
    assert_close(attend(q, k, v, built), expected, rtol=0, atol=1e-12)
