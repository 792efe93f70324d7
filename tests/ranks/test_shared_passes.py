"""Ranks that read a sequence together compute what one process computes alone."""

import json

import pytest

import ranked_losses
from ranked import together
from ranked_losses import FAULTS, FEW, MANY, MODELS, MORE_MODELS, OTHERWISE

NATS = 1e-10
ROUNDED = {
    "gemma2|native": 1e-5,  # the library's eager attention takes its softmax in float32
    "deepseek_v3|": 1e-6,  # and its router weighs experts in float32
}
"""Where a float64 model of the library is none."""


def _names(models, cases):
    return [f"{model}|{method}|{split.name}" for model in models for method, split in cases]


def _room(name):
    return next((room for start, room in ROUNDED.items() if name.startswith(start)), NATS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("ranks")
    together(ranked_losses.few, 2, place)
    return place


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("name", _names(MODELS, FEW))
def test_two_ranks_compute_what_one_does(found, name):
    """Or refuse what one refuses, with the same words."""
    if name.startswith("gemma3|dynamic_ntk:policy=at_birth"):
        assert "expected one encoding for all layers" in found[name]
    else:
        assert found[name] < NATS


def test_a_family_whose_tokens_meet_outside_of_attention_is_refused(found):
    (said,) = (each for name, each in found.items() if name.startswith("lfm2|"))
    assert said.startswith(f"{OTHERWISE}: None, lfm2 over 2 ranks gives something else than on one")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(found, fault):
    assert found[fault] > 1e-2


def test_a_comparison_over_ranks_has_the_same_figures(folder):
    """Float32 rounds otherwise in heads that lie otherwise: to 1e-5 nats."""
    both = json.loads((folder / "compared.json").read_text())
    assert both["over ranks"]["ranks"] == 2
    pairs = list(zip(both["over ranks"]["cells"], both["alone"]["cells"], strict=True))
    scored = [(ours, theirs) for ours, theirs in pairs if ours["nll"] is not None]
    assert len(scored) == 2 * 2
    for ours, theirs in scored:
        assert ours["mode"] != "decode"
        assert ours["nll"] == pytest.approx(theirs["nll"], abs=1e-5)
        assert ours["tokens_scored"] == theirs["tokens_scored"]


def test_what_is_decoded_says_that_it_is_not_sharded(folder):
    cells = json.loads((folder / "compared.json").read_text())["over ranks"]["cells"]
    decoded = [each for each in cells if each["mode"] == "decode" or each.get("task") == "passkey"]
    assert len(decoded) == 2 + 2 * 3
    assert [each for each in decoded if "decoding is not sharded" not in each["reason"]] == []


def test_a_verification_compares_ranks_with_one_of_them(folder):
    document = json.loads((folder / "verified.json").read_text())
    assert document["ranks"] == 2
    status = {(each["method"], each["check"]): each["status"] for each in document["records"]}
    checks = ("chunked", "padded", "history", "alone")
    assert {check for _, check in status} == set(checks)
    assert all(status[method, check] == "ok" for method in ("yarn", "rerope") for check in checks)
    assert status["dynamic_ntk:policy=at_birth", "chunked"] == "differs, as declared"
    assert status["dynamic_ntk:policy=at_birth", "alone"] == "ok"


def test_a_verification_sees_ranks_that_take_their_own_lengths(folder):
    document = json.loads((folder / "broken.json").read_text())
    (alone,) = (each for each in document["records"] if each["check"] == "alone")
    assert not document["passed"]
    assert alone["status"] == "failed"  # although whole_sequence promises nothing of calls
    assert alone["max_logit_difference"] > 100 * alone["tolerance"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_every_pass_of_more_families(tmp_path, size):
    """Four ranks over one, two and three key heads."""
    together(ranked_losses.many, size, tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {*_names(MODELS, MANY), *_names(MORE_MODELS, MANY)}
    assert [each for each in found.values() if str(each).startswith(OTHERWISE)] == []
    differences = {name: each for name, each in found.items() if not isinstance(each, str)}
    assert len(differences) > len(found) / 2
    assert {name: each for name, each in differences.items() if not each < _room(name)} == {}
