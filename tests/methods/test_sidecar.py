"""ropewalk.json says a method as its spec does, lists in full."""

import json

import pytest

import ropewalk as rw
from ropewalk.methods.sidecar import SIDECAR, in_force, read_sidecar, sidecar_of
from ropewalk.methods.spec import parse_spec

GEOMETRY = rw.RopeGeometry(head_dim=8, rope_theta=1e4, trained_length=32)


def written(folder, spec):
    (folder / SIDECAR).write_text(json.dumps(sidecar_of(spec)))
    return read_sidecar(folder)


@pytest.mark.parametrize(
    "text",
    [
        "rerope:window=12",
        "yarn:factor=4,truncate=false+log_n",
        "dual_chunk:chunk_size=24,local_window=8",
    ],
)
def test_what_is_read_builds_the_same_encoding(text, tmp_path):
    spec = parse_spec(text)
    found = written(tmp_path, spec)
    assert found.encoding(GEOMETRY) == spec.encoding(GEOMETRY)
    assert found.text == text


def test_lists_stand_in_it_in_full(tmp_path):
    lists = tmp_path / "long.json"
    lists.write_text("[1, 2.5, 3, 4]")
    spec = parse_spec(f"longrope:short_factor=@{lists},long_factor=@{lists},factor=4")
    expected = spec.encoding(GEOMETRY)
    assert sidecar_of(spec)["parts"][0]["arguments"]["long_factor"] == (1.0, 2.5, 3.0, 4.0)
    (tmp_path / SIDECAR).write_text(json.dumps(sidecar_of(spec)))
    lists.unlink()
    assert read_sidecar(tmp_path).encoding(GEOMETRY) == expected


def test_a_folder_without_one_states_nothing(tmp_path):
    assert read_sidecar(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "expected 1"),
        ('{"format": 2}', "format 2: expected 1"),
        ('{"format": 1, "method": "x"}', "not whole"),
        ('{"format": 1, "method": "x", "parts": []}', "no method"),
        ('{"format": 1, "method": "x", "parts": [{"name": "yarm", "arguments": {}}]}', "yarm"),
        (
            '{"format": 1, "method": "", "parts": [{"name": "yarn", "arguments": {"factor": ""}}]}',
            "expected a number",
        ),
        (
            '{"format": 1, "method": "x", "parts": [{"name": "yarn", "arguments": {"x": 4}}]}',
            "unknown key x",
        ),
    ],
)
def test_what_is_no_sidecar_is_told_in_one_line(content, message, tmp_path):
    (tmp_path / SIDECAR).write_text(content)
    with pytest.raises(rw.RopewalkError, match=message):
        read_sidecar(tmp_path)


def test_native_becomes_the_checkpoints_own():
    own = parse_spec("rerope:window=12")
    assert in_force(parse_spec("native"), own).parts == own.parts
    assert in_force(parse_spec("native+log_n"), own).encoding(GEOMETRY) == parse_spec(
        "rerope:window=12+log_n"
    ).encoding(GEOMETRY)
    assert in_force(parse_spec("yarn:factor=4"), own) == parse_spec("yarn:factor=4")
    assert in_force(parse_spec("native"), None) == parse_spec("native")
