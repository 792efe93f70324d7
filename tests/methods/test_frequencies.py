"""Frequencies of every schedule, against the formulas of the papers and of released code."""

import math

import pytest
import torch
from rope_geometries import GEOMETRIES
from torch.testing import assert_close

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.frequencies.ramps import IndexRamp, TurnsRamp
from ropewalk.methods.build import encoding


def rope(geometry):
    d = geometry.rotary_dim
    return [geometry.rope_theta ** (-2 * i / d) for i in range(d // 2)]


def turns(geometry):
    return [geometry.trained_length * theta / (2 * math.pi) for theta in rope(geometry)]


def assert_inv_freq(spec, geometry, expected, length=None):
    actual = encoding(spec, geometry).frequencies.inv_freq(length or geometry.trained_length)
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert_close(actual, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_linear_divides_every_pair(geometry):
    assert_inv_freq("linear:factor=4", geometry, [theta / 4 for theta in rope(geometry)])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_ntk_aware_stretches_pair_i_by_a_power_of_the_factor(geometry):
    """b^(-2i/d) with b * s^(d/(d-2)) is theta_i * s^(-2i/(d-2)): 1 at i = 0, 1/s at the last."""
    d = geometry.rotary_dim
    expected = [theta * 4 ** (-2 * i / (d - 2)) for i, theta in enumerate(rope(geometry))]
    assert_inv_freq("ntk_aware:factor=4", geometry, expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("growth", [1.5, 2.0, 7.25])
def test_dynamic_ntk_is_ntk_aware_at_the_stretch_of_the_length(geometry, growth):
    d, stretch = geometry.rotary_dim, 2 * growth - 1
    expected = [theta * stretch ** (-2 * i / (d - 2)) for i, theta in enumerate(rope(geometry))]
    length = int(growth * geometry.trained_length)
    assert_inv_freq("dynamic_ntk:factor=2", geometry, expected, length)


def test_dynamic_ntk_at_factor_one_stretches_by_the_ratio_of_lengths():
    (geometry, *_) = GEOMETRIES
    dynamic = encoding("dynamic_ntk:factor=1", geometry).frequencies.inv_freq(1024)
    static = encoding("ntk_aware:factor=4", geometry).frequencies.inv_freq(1024)
    assert_close(dynamic, static, rtol=1e-14, atol=0)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_ntk_by_parts_with_the_paper_ramp_is_equation_20(geometry):
    gamma = [min(1.0, max(0.0, (r - 1) / 31)) for r in turns(geometry)]
    expected = [
        (1 - g) * theta / 4 + g * theta for g, theta in zip(gamma, rope(geometry), strict=True)
    ]
    assert_inv_freq("ntk_by_parts:factor=4,ramp=paper", geometry, expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_llama3_is_its_released_case_distinction(geometry):
    low_wavelength = geometry.trained_length / 1.0
    high_wavelength = geometry.trained_length / 4.0
    expected = []
    for theta in rope(geometry):
        wavelength = 2 * math.pi / theta
        if wavelength < high_wavelength:
            expected.append(theta)
        elif wavelength > low_wavelength:
            expected.append(theta / 8)
        else:
            smooth = (geometry.trained_length / wavelength - 1.0) / (4.0 - 1.0)
            expected.append((1 - smooth) * theta / 8 + smooth * theta)
    assert_inv_freq("llama3:factor=8", geometry, expected)


def ramped(head_dim, rope_theta):
    return RopeGeometry(head_dim=head_dim, rope_theta=rope_theta, trained_length=4096)


def test_code_ramp_is_linear_in_the_pair_between_whole_cut_offs():
    """Llama 2: pairs 0 .. 20 are left alone, 46 .. 63 interpolated (published bounds)."""
    share = IndexRamp().interpolated(ramped(128, 1e4))
    expected = [min(1.0, max(0.0, (i - 20) / 26)) for i in range(64)]
    assert_close(share, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0)


def test_code_ramp_without_rounding_keeps_fractional_cut_offs():
    """gpt-oss: 8.092779115512402 to 17.39802450158856."""
    share = IndexRamp(truncate=False).interpolated(ramped(64, 150_000.0))
    low, high = 8.092779115512402, 17.39802450158856
    expected = [min(1.0, max(0.0, (i - low) / (high - low))) for i in range(32)]
    assert_close(share, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_exchanged_cut_offs_interpolate_nothing_in_the_code_ramp():
    share = IndexRamp(beta_fast=1.0, beta_slow=32.0).interpolated(ramped(64, 1e4))
    assert_close(share, torch.zeros(32, dtype=torch.float64))


def test_exchanged_cut_offs_are_refused_by_the_paper_ramp():
    with pytest.raises(RopewalkError, match="beta_fast"):
        TurnsRamp(beta_fast=1.0, beta_slow=32.0)


def test_the_two_ramps_differ_by_the_size_that_the_docstring_states():
    """Deviation of IndexRamp: up to 56 % of a frequency (d 128, L0 4096, factor 8, no rounding)."""
    geometry = RopeGeometry(head_dim=128, rope_theta=1e4, trained_length=4096)
    code = encoding("ntk_by_parts:factor=8,truncate=false", geometry).frequencies.inv_freq(4096)
    paper = encoding("ntk_by_parts:factor=8,ramp=paper", geometry).frequencies.inv_freq(4096)
    assert ((code - paper).abs() / code).max().item() == pytest.approx(0.56, abs=0.01)


def test_yarn_magnitude_grows_with_the_logarithm_of_the_factor():
    frequencies = encoding("yarn:factor=8", GEOMETRIES[0]).frequencies
    assert frequencies.attention_factor(256) == pytest.approx(0.1 * math.log(8) + 1, rel=1e-15)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"attention_factor": 1.5, "mscale": 1.0, "mscale_all_dim": 0.5}, 1.5),
        ({"mscale": 2.0}, 1 + 0.1 * math.log(4)),
        ({"mscale": 0.0, "mscale_all_dim": 1.0}, 1 + 0.1 * math.log(4)),
        (
            {"mscale": 2.0, "mscale_all_dim": 0.5},
            (1 + 0.2 * math.log(4)) / (1 + 0.05 * math.log(4)),
        ),
    ],
)
def test_yarn_attention_factor_follows_the_rules_of_released_code(parameters, expected):
    frequencies = encoding("yarn", GEOMETRIES[0], factor=4, **parameters).frequencies
    assert frequencies.attention_factor(256) == pytest.approx(expected, rel=1e-14)


def test_dynamic_yarn_at_a_length_is_yarn_with_that_factor():
    (geometry, *_) = GEOMETRIES
    dynamic = encoding("dynamic_yarn", geometry).frequencies
    static = encoding("yarn:factor=3", geometry).frequencies
    assert_close(dynamic.inv_freq(768), static.inv_freq(768), rtol=1e-15, atol=0)
    assert dynamic.attention_factor(768) == static.attention_factor(768)


def longrope(**parameters):
    lists = {"short_factor": [1.0] * 32, "long_factor": [1 + i / 4 for i in range(32)]}
    return encoding("longrope", GEOMETRIES[0], factor=4, **{**lists, **parameters}).frequencies


def test_longrope_takes_the_long_list_beyond_the_trained_length():
    theta = rope(GEOMETRIES[0])
    long = [value / (1 + i / 4) for i, value in enumerate(theta)]
    frequencies = longrope()
    for length, expected in ((256, theta), (257, long), (4096, long)):
        wanted = torch.tensor(expected, dtype=torch.float64)
        assert_close(frequencies.inv_freq(length), wanted, rtol=1e-14, atol=0)


def test_longrope_attention_factor_squared_is_log_n_at_the_longest_context():
    """A^2 = ln(s L0) / ln L0."""
    squared = longrope().attention_factor(1024) ** 2
    assert squared == pytest.approx(math.log(1024) / math.log(256), rel=1e-14)


def test_longrope_mscales_are_attention_factors_of_one_list_each():
    frequencies = longrope(short_mscale=1.1, long_mscale=1.2, attention_factor=1.3)
    assert frequencies.attention_factor(256) == 1.1
    assert frequencies.attention_factor(257) == 1.2


def test_longrope_start_tokens_turn_unscaled():
    frequencies = longrope(start_tokens=4)
    positions = torch.tensor([0, 3, 4, 900])
    theta = torch.tensor(rope(GEOMETRIES[0]), dtype=torch.float64)
    divisors = torch.tensor([1 + i / 4 for i in range(32)], dtype=torch.float64)
    expected = torch.stack([0 * theta, 3 * theta, 4 * theta / divisors, 900 * theta / divisors])
    assert_close(frequencies.angles(positions, 1024), expected, rtol=1e-14, atol=0)
    assert not frequencies.shift_invariant
    assert longrope().shift_invariant


def test_longrope_with_equal_lists_does_not_depend_on_the_length():
    assert not longrope(long_factor=[1.0] * 32).length_dependent
    assert longrope(long_factor=[1.0] * 32, long_mscale=1.5).length_dependent


@pytest.mark.parametrize(
    ("share", "turning"), [(0.0, 0), (0.25, 8), (0.3, 9), (0.99, 31), (1.0, 32)]
)
def test_proportional_keeps_the_fastest_pairs_and_stops_the_rest(share, turning):
    theta = rope(GEOMETRIES[0])
    expected = [value / 2 if i < turning else 0.0 for i, value in enumerate(theta)]
    spec = f"proportional:partial_rotary_factor={share},factor=2"
    assert_inv_freq(spec, GEOMETRIES[0], expected)


def test_an_odd_partial_dimension_keeps_exponents_over_it():
    geometry = RopeGeometry(
        head_dim=36, rope_theta=1e4, trained_length=256, partial_rotary_factor=0.25
    )
    expected = [1e4 ** (-2 * i / 9) for i in range(5)]
    assert_inv_freq("none", geometry, expected)
    with pytest.raises(RopewalkError, match="even rotary_dim"):
        encoding("yarn:factor=4", geometry)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_clipped_tapers_the_pairs_that_complete_no_turn(geometry):
    """theta_k (1 + cos(pi k / (n - 1))) / 2 over the last n: the first is kept, the last stops."""
    slow = sum(each < 1 for each in turns(geometry))
    assert slow > 2
    kept = len(rope(geometry)) - slow
    tapers = [1.0] * kept + [(1 + math.cos(math.pi * k / (slow - 1))) / 2 for k in range(slow)]
    expected = [theta * taper for theta, taper in zip(rope(geometry), tapers, strict=True)]
    assert_inv_freq("clipped", geometry, expected)
    stopped = rope(geometry)[:kept] + [0.0] * slow
    assert_inv_freq("clipped:form=hard", geometry, stopped)


def test_clipped_as_released_tapers_twenty_of_sixty_four_pairs():
    """hrlics/CoPE: (1 + cos(linspace(0, pi, 20))) / 2 on the last pairs, after any scaling."""
    geometry = GEOMETRIES[1]
    mask = 0.5 * (1 + torch.cos(torch.linspace(0, math.pi, 20, dtype=torch.float64)))
    theta = [1e7 ** (-2 * i / 128) for i in range(64)]
    tapered = [
        *theta[:44],
        *(value * m for value, m in zip(theta[44:], mask.tolist(), strict=True)),
    ]
    built = encoding("abf:rope_theta=1e7+clipped:clip_low_n=20", geometry)
    wanted = torch.tensor(tapered, dtype=torch.float64)
    assert_close(built.frequencies.inv_freq(65536), wanted, rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_resonance_rounds_wavelengths_so_that_angles_come_again(geometry):
    expected = [2 * math.pi / round(2 * math.pi / theta) for theta in rope(geometry)]
    assert_inv_freq("resonance", geometry, expected)
    theta = encoding("resonance", geometry).frequencies.inv_freq(2)
    later = 7 * torch.tensor([round(2 * math.pi / each) for each in rope(geometry)])
    assert_close(torch.cos((5 + later) * theta), torch.cos(5 * theta), rtol=0, atol=1e-9)


def test_resonance_and_clipping_modify_what_another_part_sets():
    (geometry, *_) = GEOMETRIES
    yarn = encoding("yarn:factor=4", geometry).frequencies
    both = encoding("resonance+yarn:factor=4", geometry).frequencies
    expected = [2 * math.pi / round(2 * math.pi / each) for each in yarn.inv_freq(2).tolist()]
    assert both.inv_freq(2).tolist() == pytest.approx(expected, rel=1e-12)
    assert both.attention_factor(2) == yarn.attention_factor(2) > 1
    grown = encoding("dynamic_ntk+clipped:form=hard", geometry)
    assert grown.length_dependent
    assert grown.length_policy == encoding("dynamic_ntk", geometry).length_policy
    for length in (256, 1024):
        plain = encoding("dynamic_ntk", geometry).frequencies.inv_freq(length)
        assert_close(grown.frequencies.inv_freq(length)[:13], plain[:13])
        assert (grown.frequencies.inv_freq(length)[13:] == 0).all()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("clipped+resonance", "how frequencies are modified"),
        ("clipped+xpos", "waves that decay"),
        ("clipped:clip_low_n=32", "clip_low_n=32: expected 0 to 31"),
        ("clipped:clip_low_n=-1", "clip_low_n=-1"),
    ],
)
def test_modifications_that_mean_nothing_are_refused(spec, said):
    with pytest.raises(RopewalkError, match=said):
        encoding(spec, GEOMETRIES[0])
