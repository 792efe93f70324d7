"""docs/families.md: its tables are those of its results, and its script works on one family."""

import time

import pytest

from recipes.families.limits import within_limit
from recipes.families.page import blocks, cells, table
from recipes.families.sharpened import ENCODERS, FAMILIES, MORE_FAMILIES, tiny
from recipes.families.shrunk import refusal, shrunk
from recipes.families.uses import used
from recipes.pages import filled, result

IN_A_PROCESS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
"""Python 3.12 warns of threads; these children only compute."""


@pytest.fixture(scope="module")
def results():
    return result("families")


def test_the_page_is_that_of_its_results():
    ((page, texts),) = blocks().items()
    written = page.read_text("utf-8")
    assert filled(written, texts) == written


def test_every_family_of_the_tests_passes(results):
    assert set(results["tested"]) == {*FAMILIES, *MORE_FAMILIES, *ENCODERS}
    assert {record["result"] for record in results["tested"].values()} == {"passes"}


def test_every_use_of_a_tested_family_is_right(results):
    """Differences of float64 logits; of a gradient, what norms in float32 leave of one."""
    room = {"threads": 0, "training": 5e-3, "compile": 1e-9, "PEFT": 1e-9, "offload": 1e-9}
    for record in results["tested"].values():
        assert set(record["uses"]) == set(room)
        figures = {use: found for use, found in record["uses"].items() if found != str(found)}
        assert all(found <= room[use] for use, found in figures.items())
        told = [found for found in record["uses"].values() if found == str(found)]
        assert all(each.startswith("nor without an extension: ") for each in told)


def test_what_fails_without_an_extension_is_no_fault_of_it(monkeypatch):
    def failing(model, extend):
        with extend(model, "yarn:factor=2"):
            raise ValueError("of\nits own")

    def refused(model, extend):
        with extend(model, "yarn"):  # a factor is missing
            return 0.0

    monkeypatch.setattr("recipes.families.uses.USES", {"a": failing, "b": refused})
    found = used(lambda: tiny(num_hidden_layers=1))
    assert found["a"] == "nor without an extension: of its own"
    assert found["b"].startswith("yarn without factor")


def test_no_family_is_taken_and_wrong(results):
    found = {record["result"] for record in results["swept"].values()}
    assert found <= {"passes", "unproven", "refused", "not built"}
    assert sum(record["result"] == "passes" for record in results["swept"].values()) > 60


@IN_A_PROCESS
def test_a_family_is_examined():
    record = within_limit(lambda: tiny("phi", num_hidden_layers=1))
    assert record["result"] == "passes"
    assert record["shift"] > 1e-3
    assert {kind: set(each["gaps"]) for kind, each in record["methods"].items()} == {
        kind: {"padded", "chunked", "decode"} for kind in ("native", "static", "length", "map")
    }
    row = cells("phi", record)
    assert row[:4] == ["`phi`", "half, 8 from 0", "rotary", "1"]
    assert len(table({"phi": record}).splitlines()) == 3


@IN_A_PROCESS
def test_a_model_that_cannot_be_had_in_time_is_told():
    assert within_limit(lambda: time.sleep(60), seconds=0.1)["reason"] == "took longer than 0 s"
    record = within_limit(lambda: 1 / 0)
    assert record == {"result": "not built", "reason": "ZeroDivisionError: division by zero"}


def test_any_family_can_be_shrunk():
    model = shrunk("qwen3_next")
    assert model.config.max_position_embeddings == 32
    assert sum(parameter.numel() for parameter in model.parameters()) < 1e6
    assert refusal("qwen3_next") is None
    assert "no rope fields" in refusal("gpt2")
