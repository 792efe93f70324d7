"""Whatever stands in a config: a document or a RopewalkError, and never a number that is none."""

import json
import random

import pytest
import transformers

import ropewalk as rw
from recipes.population.library import default_config
from recipes.population.mutations import LENGTHS, QUICK, faults, mutants

FEW = ("llama", "gemma3", "gemma4", "deepseek_v3", "llama4", "qwen2_5_vl", "phi3", "gpt_oss", "mpt")


@pytest.fixture(autouse=True)
def quiet():
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(level)


def found(count, seed, families=(), **commands):
    draw = random.Random(seed)
    for config in mutants(count, seed, families):
        for fault in faults(config, draw.choice(LENGTHS), **commands):
            yield f"{fault}: {json.dumps(config)[:1500]}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(2))
def test_mutated_configs_are_answered_or_refused(seed):
    assert not list(found(60, seed, FEW, commands=QUICK))
    assert not list(found(5, seed, FEW))


@pytest.mark.parametrize("nonsense", [float("inf"), float("nan"), float("-inf")])
def test_a_number_that_json_does_not_have_is_refused(nonsense):
    """Python reads Infinity and NaN, and no export could write them."""
    rope = {"full_attention": {"rope_type": "default", "factor": nonsense}, "sliding_attention": {}}
    with pytest.raises(rw.RopewalkError, match="expected a finite number"):
        rw.plan({"model_type": "gemma3_text", "rope_parameters": rope}, 4096)


@pytest.mark.parametrize("kind", [[0, 1, 2], {"a": 1}, 7])
@pytest.mark.parametrize("beside", ["text_config", "rope_parameters"])
def test_a_type_that_is_no_word_is_answered_or_refused(kind, beside):
    """Beside a right one, and outside the text section."""
    config = default_config("mistral4")
    if beside == "rope_parameters":
        config["rope_parameters"]["type"] = kind
    else:
        config = {"model_type": "llava", "text_config": default_config("llama")}
        config["rope_scaling"] = {"type": kind, "factor": 4.0}
    assert not list(faults(config, 4096))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(100, 120))
def test_mutated_configs_of_every_family_are_answered_or_refused(seed):
    assert not list(found(1000, seed))
