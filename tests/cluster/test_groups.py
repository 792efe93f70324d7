"""Ranks as one worker of a Ray cluster: the figures of one process, whatever is lost of them."""

import json
from pathlib import Path

import pytest

from cluster.lost_ranks import REQUEST
from cluster.programs import PATIENT, told
from ropewalk.api import compare
from ropewalk.data import demo_model

pytest.importorskip("ray")
PROGRAM = Path(__file__).with_name("lost_ranks.py")
NATS = 1e-10


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run in this process; nothing is decoded."""
    request = {**REQUEST, "modes": ["full"]}
    found = compare(str(demo_model()), out=tmp_path_factory.mktemp("run"), **request)
    return named(json.loads(json.dumps(found.records)))


def named(records):
    return {(each["method"], each["mode"], each["length"]): each for each in records}


@PATIENT
@pytest.mark.parametrize(
    "lost",
    [("rank",), pytest.param(("node", "rank"), marks=pytest.mark.slow)],
    ids=" and ".join,
)
def test_what_is_lost_of_a_group_costs_no_cell(alone, tmp_path, lost):
    """The others of the group are ended with it, and another one takes the cell."""
    found = told(PROGRAM, tmp_path, *lost)
    assert found["lost"] == list(lost)
    assert found["ranks"] == 2
    records = named(found["records"])
    for name, expected in alone.items():
        assert records[name]["nll"] == pytest.approx(expected["nll"], abs=NATS)
        assert records[name]["tokens_scored"] == expected["tokens_scored"]
    rest = [each for name, each in records.items() if name not in alone]
    assert len(rest) == len(alone)
    assert [each for each in rest if "mode decode over 2 ranks" not in each["reason"]] == []
