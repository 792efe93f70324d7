"""The numbers behind pictures, against closed forms."""

import cmath
import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from ropewalk.analysis.sinusoidal import sinusoidal
from ropewalk.methods.pictures import Subject, picture
from ropewalk.opening.shapes import shape_of

DIM, BASE, L0 = 16, 1e4, 64
CONFIG = {"head_dim": DIM, "rope_theta": BASE, "max_position_embeddings": L0}
SMALL = Subject(name="small", section=shape_of(CONFIG).rope())
THETA = [BASE ** (-2 * i / DIM) for i in range(DIM // 2)]


def floats(values):
    return torch.tensor(values, dtype=torch.float64)


# Factors that are not stated.


@pytest.mark.parametrize(
    ("method", "length", "stated"),
    [
        ("none", 256, "none"),
        ("linear", 256, "linear:factor=4"),
        ("linear", 32, "linear:factor=1"),
        ("yarn:beta_fast=16", 96, "yarn:beta_fast=16,factor=1.5"),
        ("dual_chunk+yarn+log_n", 128, "dual_chunk+yarn:factor=2+log_n"),
        ("self_extend", 128, "self_extend:factor=2"),
        ("self_extend:group_size=3", 128, "self_extend:group_size=3"),
        ("linear:factor=8", 128, "linear:factor=8"),
    ],
)
def test_an_omitted_factor_is_written_out(method, length, stated):
    assert SMALL.stated(method, length) == stated


def test_the_config_s_own_encoding_can_be_drawn():
    config = {**CONFIG, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    scaled = Subject(name="scaled", section=shape_of(config).rope())
    record = picture("wavelengths", scaled, ["native"], [128])
    expected = [2 * math.pi * 2 / theta for theta in THETA]
    assert record["methods"][0]["wavelengths"] == pytest.approx(expected, rel=1e-12)


# The data.


def dual_chunk(m, n, size=10, window=5):
    """Distance in chunks of 10 with a local window of 5."""
    apart = m // size - n // size
    query = [m % size, min(m % size + size, size + window - 1), size + window - 1][min(apart, 2)]
    return query - n % size


@pytest.mark.parametrize("length", [37, 256, 1000])
def test_distances_are_those_of_the_map_at_the_tokens_shown(length):
    methods = ["none", "rerope:window=20", "dual_chunk:chunk_size=10,local_window=5"]
    forms = [lambda m, n: m - n, lambda m, n: min(m - n, 20), dual_chunk]
    record = picture("distances", SMALL, methods, [length])
    rows, keys = record["rows"], record["keys"]
    assert rows == keys
    assert len(rows) == min(length, 256)
    assert rows[0] == 0
    assert rows[-1] == length - 1
    assert all(before < after for before, after in itertools.pairwise(rows))
    for drawn, form in zip(record["methods"], forms, strict=True):
        expected = [[form(m, n) if n <= m else None for n in keys] for m in rows]
        assert drawn["matrix"] == expected
        assert drawn["largest"] == max(v for row in expected for v in row if v is not None)
        for row, m in enumerate(rows):
            bands = [range(r["start"][row], r["stop"][row]) for r in drawn["regions"]]
            assert sorted(n for band in bands for n in band) == list(range(m + 1))


def test_angles_are_position_times_frequency():
    record = picture("angles", SMALL, ["none", "linear", "ntk_aware"], [128, 256])
    assert [(p["method"], p["context_length"]) for p in record["panels"]] == [
        (f"{name}{'' if name == 'none' else f':factor={factor}'}", factor * L0)
        for factor in (2, 4)
        for name in ("none", "linear", "ntk_aware")
    ]
    for panel in record["panels"]:
        length, factor = panel["context_length"], panel["context_length"] / L0
        base = BASE * factor ** (DIM / (DIM - 2))
        speeds = {
            "none": THETA,
            "linear": [theta / factor for theta in THETA],
            "ntk_aware": [base ** (-2 * i / DIM) for i in range(DIM // 2)],
        }[panel["method"].partition(":")[0]]
        expected = floats([[m * speed for speed in speeds] for m in range(length)])
        assert_close(floats(panel["angles"]), expected, rtol=1e-12, atol=0)
        # A pair that turned less than once in training, as far as L0 steps of it or farther.
        beyond = [
            [THETA[i] * L0 < 2 * math.pi and m * speeds[i] >= THETA[i] * L0 * (1 - 1e-9)
             for i in range(DIM // 2)]
            for m in range(length)
        ]  # fmt: skip
        assert panel["out_of_range"] == beyond


@pytest.mark.parametrize("trained_length", [9, 11, 15])
def test_a_pair_leaves_its_range_exactly_at_the_trained_length(trained_length):
    """Lengths at which L0 theta, taken through turns and back, is rounded up for some pair."""
    config = {"head_dim": 32, "rope_theta": BASE, "max_position_embeddings": trained_length}
    subject = Subject(name="odd", section=shape_of(config).rope())
    (panel,) = picture("angles", subject, ["none"], [2 * trained_length])["panels"]
    unfinished = [BASE ** (-i / 16) * trained_length < 2 * math.pi for i in range(16)]
    assert not any(panel["out_of_range"][trained_length - 1])
    assert panel["out_of_range"][trained_length] == unfinished


def test_wavelengths_are_tokens_for_a_turn():
    record = picture("wavelengths", SMALL, ["none", "linear"], [4 * L0])
    plain = [2 * math.pi * BASE ** (2 * i / DIM) for i in range(DIM // 2)]
    by_method = {drawn["method"]: drawn["wavelengths"] for drawn in record["methods"]}
    assert by_method["none"] == pytest.approx(plain, rel=1e-12)
    assert by_method["linear:factor=4"] == pytest.approx([4 * w for w in plain], rel=1e-12)
    assert record["turns_in_training"] == pytest.approx([L0 / w for w in plain], rel=1e-12)


def test_reach_shows_the_pairs_that_ntk_aware_leaves_out_of_range_and_by_parts_does_not():
    """NTK-aware slows pair i by s^(2i / (d - 2)): only the last pair by the whole factor."""
    length, factor = 4 * L0, 4
    record = picture("reach", SMALL, ["none", "linear", "ntk_aware", "ntk_by_parts"], [length])
    drawn = {d["method"].partition(":")[0]: d for d in record["methods"]}
    full = (length - 1) / L0
    slowed = [full / factor ** (2 * i / (DIM - 2)) for i in range(DIM // 2)]
    assert drawn["none"]["reach"] == pytest.approx([full] * (DIM // 2), rel=1e-12)
    assert drawn["linear"]["reach"] == pytest.approx([full / factor] * (DIM // 2), rel=1e-12)
    assert drawn["ntk_aware"]["reach"] == pytest.approx(slowed, rel=1e-12)
    unfinished = [theta * L0 < 2 * math.pi for theta in THETA]
    assert drawn["none"]["out_of_range"] == unfinished
    middle = [open_ and ratio >= 1 for open_, ratio in zip(unfinished, slowed, strict=True)]
    assert any(middle)
    assert not middle[-1]
    assert drawn["ntk_aware"]["out_of_range"] == middle
    assert not any(drawn["linear"]["out_of_range"])
    assert not any(drawn["ntk_by_parts"]["out_of_range"])


def test_a_position_map_shortens_the_reach():
    record = picture("reach", SMALL, ["rerope:window=16"], [4 * L0])
    assert record["methods"][0]["reach"] == pytest.approx([16 / L0] * (DIM // 2), rel=1e-12)


def mean_over_bins(values, bins):
    return [sum(values[a : b + 1]) / (b + 1 - a) for a, b in bins]


@pytest.mark.parametrize(
    ("method", "shown", "scale"),
    [
        ("none", lambda d: d, 1.0),
        ("rerope:window=20", lambda d: min(d, 20), 1.0),
        ("none+yarn_temperature:factor=4", lambda d: d, (0.1 * math.log(4) + 1) ** 2),
        ("log_n", lambda d: d, math.log(300) / math.log(L0)),
    ],
)
def test_decay_is_roformer_s_sum_at_the_distance_shown(method, shown, scale):
    record = picture("decay", SMALL, [method], [300])
    bounds, scores = [], []
    for distance in range(300):
        turned = [cmath.exp(1j * shown(distance) * theta) for theta in THETA]
        partial = [abs(sum(turned[:j])) for j in range(1, len(turned) + 1)]
        bounds.append(scale * sum(partial) / len(partial))
        scores.append(scale * sum(z.real for z in turned) / len(turned))
    (drawn,), bins = record["methods"], record["bins"]
    assert drawn["bound"] == pytest.approx(mean_over_bins(bounds, bins), rel=1e-12)
    assert drawn["score"] == pytest.approx(mean_over_bins(scores, bins), abs=1e-12)


def test_decay_carries_the_attention_factor_squared():
    one, other = picture("decay", SMALL, ["ntk_by_parts:factor=4", "yarn:factor=4"], [100])[
        "methods"
    ]
    expected = floats(one["score"]) * (0.1 * math.log(4) + 1) ** 2
    assert_close(floats(other["score"]), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", [2, 3, 100, 8192])
def test_bins_of_distances_are_whole_and_equal_on_a_log_axis(length):
    record = picture("decay", SMALL, ["none"], [length])
    covered = [d for first, last in record["bins"] for d in range(first, last + 1)]
    assert covered == list(range(1, length))
    starts = [first for first, _ in record["bins"] if first > 64]
    wide = [after / before for before, after in itertools.pairwise(starts)]
    assert all(abs(ratio - 2 ** (1 / 8)) < 0.01 for ratio in wide)


def test_the_sinusoidal_table_is_vaswani_s():
    record = sinusoidal(12, 30)
    for m, row in enumerate(record["table"]):
        for i in range(6):
            angle = m / 10000 ** (2 * i / 12)
            assert row[2 * i] == pytest.approx(math.sin(angle), abs=1e-12)
            assert row[2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-12)
