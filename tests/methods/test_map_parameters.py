"""Parameters of position maps, by default and from a factor, and what maps join."""

import math
from dataclasses import replace

import pytest
from closed_forms import leaky, longlm, self_extend, vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ropewalk.attention.reference import attend_reference
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import Fixed, PerQuery
from ropewalk.methods.build import encoding
from ropewalk.methods.spec import parse_spec
from ropewalk.methods.unscaled import none
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.leaky_rerope import LeakyReRoPE
from ropewalk.positions.rerope import ReRoPE
from ropewalk.positions.self_extend import SelfExtend
from ropewalk.positions.string import ShiftedRoPE
from ropewalk.scores.chunkllama_scale import ChunkLlamaScale
from ropewalk.scores.log_n import FlooredLogN, LogN
from ropewalk.scores.temperature import Temperature

GEOMETRY = RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=256)


# Parameters by default, and from a factor.


@pytest.mark.parametrize(
    ("spec", "trained_length", "expected"),
    [
        ("rerope", 4096, ReRoPE(window=2048)),
        ("rerope", 2, ReRoPE(window=1)),
        ("inverse_leaky_rerope", 3, LeakyReRoPE(window=1, slope=1 / 16)),
        ("self_extend:group_size=8", 4096, SelfExtend(group_size=8, window=1024)),
        ("dual_chunk", 4096, DualChunk(chunk_size=3072, local_window=1024)),
        ("dual_chunk", 2, DualChunk(chunk_size=1, local_window=1)),
        ("dual_chunk:chunk_size=1000", 4096, DualChunk(chunk_size=1000, local_window=3096)),
        ("dual_chunk:local_window=96", 4096, DualChunk(chunk_size=4000, local_window=96)),
        ("dual_chunk:rule=chunkllama", 4096, DualChunk(chunk_size=2560, local_window=513)),
        ("dual_chunk:rule=chunkllama", 2, DualChunk(chunk_size=1, local_window=1)),
        ("string", 131072, ShiftedRoPE(shift=43690, window=128)),
        ("string", 256, ShiftedRoPE(shift=85, window=21)),
        ("string", 2, ShiftedRoPE(shift=1, window=1)),
    ],
)
def test_defaults_follow_the_trained_length(spec, trained_length, expected):
    geometry = replace(GEOMETRY, trained_length=trained_length)
    assert encoding(spec, geometry).position_map == expected


@pytest.mark.parametrize("rule", ["paper", "longlm"])
@given(st.integers(2, 60), st.floats(1, 20), st.integers(1, 59))
@settings(max_examples=60, deadline=None)
def test_a_factor_gives_the_smallest_group_that_reaches_it(rule, trained_length, factor, window):
    window = min(window, trained_length - 1)
    geometry = replace(GEOMETRY, trained_length=trained_length)
    length = math.ceil(factor * trained_length)
    built = encoding("self_extend", geometry, factor=factor, window=window, rule=rule)
    group = built.position_map.group_size
    form = {"paper": self_extend, "longlm": longlm}[rule]

    def farthest(size):
        return max(form(size, window)(m, 0) for m in range(length))

    assert farthest(group) < trained_length
    assert all(farthest(size) >= trained_length for size in range(1, group))


@given(st.integers(3, 60), st.floats(1, 20), st.integers(1, 58))
@settings(max_examples=60, deadline=None)
def test_a_factor_gives_the_smallest_slope_that_reaches_it(trained_length, factor, window):
    window = min(window, trained_length - 2)
    geometry = replace(GEOMETRY, trained_length=trained_length)
    length = math.ceil(factor * trained_length)
    slope = encoding("leaky_rerope", geometry, factor=factor, window=window).position_map.slope
    farthest = leaky(window, slope)(length - 1, 0)
    assert farthest <= trained_length - 1 + 1e-9
    if slope > 1:
        assert farthest == pytest.approx(trained_length - 1, rel=1e-12)


def test_a_run_s_factor_stands_in_where_neither_it_nor_the_group_is_given():
    spec = parse_spec("self_extend")
    assert spec.needs_default_factor
    derived = spec.encoding(GEOMETRY, default_factor=4)
    assert derived.position_map == encoding("self_extend:factor=4", GEOMETRY).position_map
    stated = parse_spec("self_extend:group_size=9")
    assert not stated.needs_default_factor
    assert stated.encoding(GEOMETRY, default_factor=4).position_map.group_size == 9
    assert not parse_spec("leaky_rerope:slope=9").needs_default_factor
    assert parse_spec("leaky_rerope:factor=length").depends_on_length


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("rerope:window=0", "window=0"),
        ("rerope:window=1.5", "whole number"),
        ("rerope:window=10000000000000", "2\\^40"),
        ("leaky_rerope", "leaky_rerope without slope"),
        ("leaky_rerope:slope=0.5", "inverse_leaky_rerope"),
        ("leaky_rerope:slope=nan", "slope=nan"),
        ("leaky_rerope:slope=inf", "finite"),
        ("leaky_rerope:slope=0", "slope=0"),
        ("leaky_rerope:slope=4,factor=4", "drop one"),
        ("leaky_rerope:factor=4,window=255", "at most 254"),
        ("inverse_leaky_rerope:slope=1", "below 1"),
        ("inverse_leaky_rerope:slope=0", "above 0"),
        ("inverse_leaky_rerope:slope=nan", "above 0"),
        ("self_extend", "self_extend without group_size"),
        ("self_extend:group_size=0", "group_size=0"),
        ("self_extend:group_size=4,window=0", "window=0"),
        ("self_extend:group_size=4,factor=4", "drop one"),
        ("self_extend:factor=0.5", "factor=0.5"),
        ("self_extend:factor=4,window=256", "less than the trained length"),
        ("dual_chunk:chunk_size=0", "chunk_size=0"),
        ("dual_chunk:chunk_size=8,local_window=0", "local_window=0"),
        ("dual_chunk:chunk_size=256", "leaves nothing of 256 tokens for local_window"),
        ("dual_chunk:local_window=300", "leaves nothing of 256 tokens for chunk_size"),
        ("dual_chunk:rule=chunklama", "did you mean chunkllama"),
        ("string:shift=0", "shift=0"),
        ("string:window=0", "window=0"),
        ("string:window=86", "at most the shift, 85"),
    ],
)
def test_bad_parameters_are_refused(spec, said):
    with pytest.raises(RopewalkError, match=said):
        encoding(spec, GEOMETRY)


# Compositions.


@pytest.mark.parametrize("name", ["rerope", "leaky_rerope:slope=8", "self_extend:group_size=4",
                                  "dual_chunk", "string"])  # fmt: skip
def test_a_map_joins_any_frequencies_and_any_scale(name):
    alone = encoding(name, GEOMETRY)
    joined = encoding(f"{name}+yarn:factor=4+log_n+temperature:tau=1.2", GEOMETRY)
    assert joined.position_map == alone.position_map
    assert joined.frequencies == encoding("yarn:factor=4", GEOMETRY).frequencies
    assert joined.score_mods == (FlooredLogN(base_length=256), Temperature(tau=1.2))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("log_n", FlooredLogN(base_length=256)),
        ("log_n:form=plain,base_length=512", LogN(base_length=512)),
        ("temperature:tau=1.5", Temperature(tau=1.5)),
        ("yarn_temperature:factor=4", Temperature(tau=(0.1 * math.log(4) + 1) ** 2)),
    ],
)
def test_every_scale_is_an_axis_of_its_own(scale, expected):
    joined = encoding(f"rerope+{scale}", GEOMETRY)
    assert joined.position_map == ReRoPE(window=128)
    assert joined.frequencies == none(GEOMETRY).frequencies
    assert joined.score_mods == (expected,)


def test_chunkllama_s_scale_comes_along_into_a_composition():
    joined = encoding("dual_chunk:rule=chunkllama+yarn:factor=2+log_n", GEOMETRY)
    assert joined.score_mods == (ChunkLlamaScale(trained_length=256), FlooredLogN(base_length=256))


def test_a_map_under_length_dependent_frequencies_keeps_their_policy():
    joined = encoding("dual_chunk+dynamic_ntk:step=8", GEOMETRY)
    assert joined.length_policy == PerQuery(trained_length=256, step=8)
    fixed = encoding("dynamic_ntk:policy=fixed,length=512+self_extend:group_size=3", GEOMETRY)
    assert fixed.length_policy == Fixed(length=512)
    with pytest.raises(RopewalkError, match=r"at_birth with a map of 3 regions.*per_query"):
        encoding("dual_chunk+dynamic_ntk:policy=at_birth", GEOMETRY)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("rerope+string", "rerope and string both set the position map"),
        ("dual_chunk+dual_chunk", "both set the position map"),
        ("rerope+yarn:factor=4+linear:factor=2", "yarn and linear both set the frequencies"),
    ],
)
def test_two_parts_on_one_axis_are_refused(spec, said):
    with pytest.raises(RopewalkError, match=said):
        encoding(spec, GEOMETRY)


def test_yarn_s_temperature_beside_by_parts_is_yarn_where_every_channel_turns():
    q, k, v = vectors(40)
    joined = encoding("ntk_by_parts:factor=4+yarn_temperature:factor=4", GEOMETRY)
    expected = attend_reference(q, k, v, encoding("yarn:factor=4", GEOMETRY))
    assert_close(attend_reference(q, k, v, joined), expected, rtol=0, atol=1e-12)
