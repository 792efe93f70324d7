"""Configs of models that people run, reduced to the keys that decide positions and memory.

people_run.json: ``source`` is the code that each was checked against by hand; ``expected`` has the
base, the channels that rotate, the lengths that it was pretrained at and tuned to, and the cache as
[layers, tokens kept (null: all), numbers of a token], worked out from the sizes.

``engines`` is what each engine's own code gave when it was run on the config: the second and the
slowest frequency, the attention factor, pairs, and rows of the table. transformers 5.23.0: the
model's rotary class. vLLM 0.32.0 (the rotary files are 0.33.0's) and SGLang 0.5.23: get_rope on
the dict that vLLM's patch_rope_parameters makes, where the engine has a file for the model.
llama.cpp: the header that 11434's converter wrote, the formula on it, pairs and n_ctx_train; or
what the converter raised. DeepSeek on SGLang wants an accelerator, remote code was not run.
"""

import json
from pathlib import Path

import pytest

import ropewalk as rw

MODELS = json.loads((Path(__file__).parent / "people_run.json").read_text("utf-8"))
RAN = {"transformers": 51, "vllm": 42, "sglang": 42, "llama.cpp": 50}
every = pytest.mark.parametrize("model", MODELS, ids=[model["name"] for model in MODELS])


def worked_out(cache, length):
    """Bytes in bfloat16."""
    kept = [
        (layers, length if window is None else min(window, length), numbers)
        for layers, window, numbers in cache
    ]
    return 2 * sum(layers * tokens * numbers for layers, tokens, numbers in kept)


def test_there_are_fifty_of_them_with_their_sources():
    assert len({model["name"] for model in MODELS}) == len(MODELS) >= 50
    assert all(model["source"] for model in MODELS)


@every
def test_rotation_reach_and_memory_are_those_of_the_models_own_code(model):
    config, right = model["config"], model["expected"]
    shown, length = rw.inspect(config), right["tuned"] or 4096
    plan = rw.plan(config, length)
    assert shown["rope_theta"] == right["rope_theta"]
    assert shown["rotary_dim"] == right["rotary_dim"]
    assert plan["pretrained_length"] == right["pretrained"]
    assert plan["reach"] == right["tuned"]
    assert not plan["needed"]
    for times in (1, 4) if right["cache"] else ():
        found = rw.plan(config, times * length)["kv_cache"]["bytes"]
        assert found == worked_out(right["cache"], times * length)


@every
def test_each_engine_computes_what_its_own_code_does(model):
    found = rw.audit(model["config"])["engines"]
    for engine, ran in model["engines"].items():
        ours = found[engine]
        if isinstance(ran, str):
            assert ours["error"] is not None, (engine, ran)
            assert ours["error"].removeprefix("cannot load: ") in ran
            continue
        second, slowest, *rest = ran
        ends = (ours["inv_freq"][1], ours["inv_freq"][-1])
        assert ends == pytest.approx((second, slowest), rel=1e-5), engine
        if engine == "llama.cpp":
            assert [len(ours["inv_freq"]), ours["max_length"]] == rest
            continue
        factor, pairs, *rows = rest
        assert ours["attention_factor"] == pytest.approx(factor, abs=2e-6), engine
        assert len(ours["inv_freq"]) == pairs
        assert not rows or ours["table_rows"] == rows[0], engine


def test_most_engines_were_run():
    ran = [engine for model in MODELS for engine in model["engines"]]
    assert {engine: ran.count(engine) for engine in RAN} == RAN


@every
def test_no_length_is_unsafe_that_it_was_tuned_to(model):
    shown = rw.inspect(model["config"])
    if shown["rotates"] and shown["safe_length"] is not None:
        assert shown["safe_length"] >= model["expected"]["tuned"]


@every
def test_nothing_is_edited_where_nothing_is_needed(model):
    plan = rw.plan(model["config"], model["expected"]["tuned"] or 4096)
    for row in plan["methods"]:
        assert not any(engine["config"] for engine in row["engines"].values())
