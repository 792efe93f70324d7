"""Method specs: grammar, types, symbols, composition, errors."""

import json

import pytest
import torch

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import AtBirth, Fixed, PerQuery, WholeSequence
from ropewalk.core.regions import Identity, PositionMap, Region, WholeTriangle
from ropewalk.methods.build import encoding
from ropewalk.methods.compose import compose
from ropewalk.methods.spec import parse_spec
from ropewalk.methods.table import METHODS
from ropewalk.scores.log_n import FlooredLogN
from ropewalk.scores.temperature import Temperature

GEOMETRY = RopeGeometry(head_dim=64, rope_theta=1e4, trained_length=256)


@pytest.mark.parametrize(
    ("spec", "name", "parameters"),
    [
        ("yarn:factor=4", "yarn", {"factor": 4}),
        (
            "yarn:factor=4,beta_fast=16,truncate=false",
            "yarn",
            {"factor": 4.0, "beta_fast": 16, "truncate": False},
        ),
        ("ntk_by_parts:factor=2,ramp=paper", "ntk_by_parts", {"factor": 2, "ramp": "paper"}),
        ("dynamic_ntk:policy=fixed,length=512", "dynamic_ntk", {"policy": "fixed", "length": 512}),
        ("none", "none", {}),
    ],
)
def test_a_spec_and_keyword_parameters_say_the_same(spec, name, parameters):
    assert encoding(spec, GEOMETRY) == encoding(name, GEOMETRY, **parameters)


def test_keyword_parameters_reach_the_encoding():
    first = encoding("yarn", GEOMETRY, factor=4).frequencies.inv_freq(256)
    second = encoding("yarn", GEOMETRY, factor=8).frequencies.inv_freq(256)
    assert first[-1].item() == pytest.approx(2 * second[-1].item(), rel=1e-15)


def test_lists_come_from_a_file(tmp_path):
    (tmp_path / "short.json").write_text(json.dumps([1] * 32))
    (tmp_path / "long.json").write_text(json.dumps([2.5] * 32))
    spec = (
        f"longrope:short_factor=@{tmp_path}/short.json,long_factor=@{tmp_path}/long.json,factor=4"
    )
    ratio = encoding(spec, GEOMETRY).frequencies.inv_freq(256) / encoding(
        spec, GEOMETRY
    ).frequencies.inv_freq(257)
    torch.testing.assert_close(ratio, torch.full((32,), 2.5, dtype=torch.float64))


@pytest.mark.parametrize("content", ["{}", "[1, null]", "[true]", "not json", '["1"]'])
def test_files_without_a_list_of_numbers_are_refused(tmp_path, content):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(RopewalkError, match="list"):
        parse_spec(f"longrope:short_factor=@{tmp_path}/list.json")


def test_a_missing_list_file_is_refused(tmp_path):
    with pytest.raises(RopewalkError, match=r"absent\.json"):
        parse_spec(f"longrope:short_factor=@{tmp_path}/absent.json")


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("dynamic_ntk:step=1", PerQuery(trained_length=256, step=1)),
        ("dynamic_ntk", PerQuery(trained_length=256, step=8)),
        ("dynamic_yarn:step=32", PerQuery(trained_length=256, step=32)),
        ("dynamic_ntk:policy=fixed,length=512", Fixed(length=512)),
        ("dynamic_ntk:policy=whole_sequence", WholeSequence(trained_length=256)),
        ("dynamic_yarn:policy=at_birth", AtBirth(trained_length=256)),
        ("yarn:factor=4", Fixed(length=256)),
    ],
)
def test_policies_are_named(spec, policy):
    assert encoding(spec, GEOMETRY).length_policy == policy


def test_an_omitted_factor_takes_the_default_where_there_is_one():
    spec = parse_spec("yarn")
    assert spec.needs_default_factor
    assert spec.encoding(GEOMETRY, default_factor=8) == encoding("yarn:factor=8", GEOMETRY)
    with pytest.raises(RopewalkError, match="yarn without factor"):
        spec.encoding(GEOMETRY)


def test_a_default_factor_does_not_replace_a_given_or_a_defaulted_one():
    for text in ("yarn:factor=4", "dynamic_ntk"):
        spec = parse_spec(text)
        assert not spec.needs_default_factor
        assert spec.encoding(GEOMETRY, default_factor=8) == encoding(text, GEOMETRY)


@pytest.mark.parametrize(("length", "factor"), [(1024, 4), (384, 1.5), (128, 1)])
def test_factor_length_is_the_ratio_of_each_length(length, factor):
    spec = parse_spec("linear:factor=length")
    assert spec.depends_on_length
    expected = encoding("linear", GEOMETRY, factor=factor)
    assert spec.encoding(GEOMETRY, context_length=length) == expected
    with pytest.raises(RopewalkError, match="context length"):
        spec.encoding(GEOMETRY)


def test_the_text_stays_as_typed_and_the_canonical_text_is_one_for_equal_specs():
    typed, other = parse_spec("yarn:truncate=true,factor=4"), parse_spec("yarn:factor=4.0")
    assert typed.text == "yarn:truncate=true,factor=4"
    assert typed.canonical == other.canonical
    assert parse_spec("log_n+linear:factor=2").canonical == (
        parse_spec("linear:factor=2+log_n").canonical
    )
    assert parse_spec("yarn:factor=4,ramp=paper").canonical != other.canonical


def test_canonical_text_holds_lists_in_full(tmp_path):
    texts = []
    for value in (1.0, 2.0):
        (tmp_path / "list.json").write_text(json.dumps([value] * 32))
        texts.append(parse_spec(f"longrope:short_factor=@{tmp_path}/list.json").canonical)
    assert texts[0] != texts[1]


def test_resolving_writes_the_factor_into_the_canonical_text():
    resolved = parse_spec("yarn").resolved(GEOMETRY, default_factor=4)
    assert resolved.canonical == parse_spec("yarn:factor=4").canonical
    assert resolved.text == "yarn"


class Halved(Region):
    def query_positions(self, rows):
        return rows.double() / 2

    def key_positions(self, keys):
        return keys.double() / 2

    def key_bounds(self, rows):
        return WholeTriangle().key_bounds(rows)


class HalvedMap(PositionMap):
    @property
    def regions(self):
        return (Halved(),)


def mapped():
    plain = encoding("none", GEOMETRY)
    return Encoding(
        geometry=GEOMETRY,
        frequencies=plain.frequencies,
        length_policy=plain.length_policy,
        position_map=HalvedMap(),
    )


def test_composition_takes_each_axis_from_the_part_that_sets_it():
    position_map = mapped()
    parts = [("map", position_map)] + [
        (spec, encoding(spec, GEOMETRY)) for spec in ("dynamic_ntk:step=8", "log_n", "none")
    ]
    joined = compose(GEOMETRY, parts)
    assert joined.position_map is position_map.position_map
    assert joined.frequencies == encoding("dynamic_ntk", GEOMETRY).frequencies
    assert joined.length_policy == PerQuery(trained_length=256, step=8)
    assert joined.score_mods == (FlooredLogN(base_length=256),)


def test_score_modifications_multiply():
    joined = encoding("log_n+temperature:tau=1.5+yarn:factor=4", GEOMETRY)
    assert joined.score_mods == (FlooredLogN(base_length=256), Temperature(tau=1.5))
    assert joined.query_scale(torch.tensor([65535])).item() == pytest.approx(3.0, rel=1e-15)
    assert joined.position_map == Identity()


def test_two_parts_on_one_axis_are_refused():
    with pytest.raises(RopewalkError, match="yarn and linear both set the frequencies"):
        encoding("yarn:factor=4+linear:factor=2", GEOMETRY)
    with pytest.raises(RopewalkError, match="both set the position map"):
        compose(GEOMETRY, [("first", mapped()), ("second", mapped())])


def test_native_needs_a_config_and_stands_for_what_it_is_given():
    with pytest.raises(RopewalkError, match="config"):
        encoding("native", GEOMETRY)
    native = encoding("llama3:factor=8", GEOMETRY)
    joined = parse_spec("native+temperature:tau=2").encoding(GEOMETRY, native=native)
    assert joined.frequencies == native.frequencies
    assert joined.score_mods == (Temperature(tau=2.0),)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "name"),
        ("yarn+", "name"),
        (":factor=4", "name"),
        ("yarm", "did you mean yarn"),
        ("YaRN", "unknown method"),
        ("yarn:facto=4", "did you mean factor"),
        ("none:factor=4", "no parameters"),
        ("linear:policy=fixed", "unknown key policy"),
        ("yarn:factor", "key=value"),
        ("yarn:factor=", "key=value"),
        ("yarn:factor=4,,", "key=value"),
        ("yarn:factor=4,factor=8", "twice"),
        ("yarn:factor=four", "factor=four: expected a number"),
        ("yarn:factor=4,truncate=no", "true or false"),
        ("yarn:factor=4,ramp=papr", "did you mean paper"),
        ("yarn:beta_fast=length", "expected a number"),
        ("dynamic_ntk:step=1.5", "whole number"),
        ("dynamic_ntk:step=0", "step"),
        ("dynamic_ntk:step=4,policy=fixed,length=512", "only per_query"),
        ("dynamic_ntk:length=512", "only fixed"),
        ("dynamic_ntk:policy=fixed", "without length"),
        (f"dynamic_ntk:policy=fixed,length={10**30}", "length"),
        (f"dynamic_ntk:step={'9' * 5000}", "step"),
        ("abf", "abf without rope_theta"),
        ("longrope:factor=4", "longrope without short_factor"),
        ("longrope:short_factor=2", "list of numbers"),
    ],
)
def test_bad_specs_are_refused_with_the_remedy(spec, said):
    with pytest.raises(RopewalkError, match=said):
        encoding(spec, GEOMETRY)


@pytest.mark.parametrize(
    ("spec", "parameters", "said"),
    [
        ("yarn", {"facto": 4}, "did you mean factor"),
        ("yarn", {"factor": "4"}, "expected a number"),
        ("yarn", {"factor": True}, "expected a number"),
        ("yarn", {"factor": None}, "expected a number"),
        ("yarn", {"factor": 10**400}, "expected a number"),
        ("yarn:factor=4", {"factor": 4}, "twice"),
        ("yarn:factor=4", {"truncate": 1}, "true or false"),
        ("dynamic_ntk", {"step": 2.0}, "whole number"),
        ("log_n+yarn", {"factor": 4}, "inside the spec"),
        ("longrope", {"short_factor": [1, "2"]}, "list of numbers"),
    ],
)
def test_bad_keyword_parameters_are_refused(spec, parameters, said):
    with pytest.raises(RopewalkError, match=said):
        encoding(spec, GEOMETRY, **parameters)


def test_the_table_names_each_method_once_and_says_what_it_is():
    for name, method in METHODS.items():
        assert method.name == name
        assert method.build.__name__ == name
        assert method.summary
        assert method.build.__doc__
