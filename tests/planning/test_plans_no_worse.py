"""Whatever the family and the length: what a plan prints, applied, leaves the model's audit no
worse on the engine that it is for; where nothing is needed it edits nothing."""

import json

import pytest

import ropewalk as rw
from no_worse import errors, written
from places import ROOT
from recipes.population.library import NotBuilt, default_config, model_types

TYPES = model_types()
PEOPLE_RUN = ROOT / "tests" / "configs" / "people_run.json"
AUDITED = ROOT / "recipes" / "audit" / "configs"
MODELS = {
    **{each["name"]: each["config"] for each in json.loads(PEOPLE_RUN.read_text("utf-8"))},
    **{path.stem: json.loads(path.read_text("utf-8")) for path in AUDITED.glob("*.json")},
}
FEW = ("Llama-3.1-8B", "phi4_mini", "DeepSeek-V3", "gpt-oss-20b", "gemma-3-27b", "minicpm3_4b")


def documents(plan):
    """(method, engine, what the engine is given), of every row and of what comes nearest."""
    nearest = plan["nearest"]
    for row in (*plan["methods"], *([nearest] if nearest else ())):
        for engine, document in row["engines"].items():
            if "error" not in document:
                yield row["method"], engine, document


def no_worse(config, length):
    """How many documents edit the config."""
    try:
        plan = rw.plan(config, length)
    except rw.RopewalkError:
        return 0
    edits = [each for each in documents(plan) if each[2]["config"] or each[2]["remove"]]
    if not plan["needed"]:
        assert not edits
    for method, engine, document in edits:
        assert engine != "llama.cpp"
        worse = errors(written(config, engine, document), engine, length)
        assert worse <= errors(config, engine, length), (method, engine)
    return len(edits)


def at_every_length(config):
    """Within what the model was tuned to, twice that, and farther than any method reaches."""
    try:
        reach = rw.plan(config, 64)["reach"] or 4096
    except rw.RopewalkError:
        return 0
    return sum(no_worse(config, length) for length in (reach, 2 * reach, 1000 * reach))


@pytest.mark.parametrize("name", FEW)
def test_no_plan_makes_an_audit_worse(name):
    assert at_every_length(MODELS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_no_plan_makes_the_audit_of_a_model_that_people_run_worse(name):
    at_every_length(MODELS[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", TYPES)
def test_no_plan_makes_the_audit_of_any_family_worse(model_type):
    try:
        config = default_config(model_type)
    except NotBuilt:
        return
    at_every_length(config)
