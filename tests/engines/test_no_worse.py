"""No export makes a model's own audit worse."""

import json

import pytest

import ropewalk as rw
from no_worse import errors, written
from places import GOLDENS
from ropewalk.engines.export.portable import portable_block
from ropewalk.integrations.folders import patched
from ropewalk.opening.shapes import shape_of

RECORDED = json.loads((GOLDENS / "engines.json").read_text("utf-8"))["configs"]
HEALTHY = [
    *("mla-deepseek-v2-lite", "mla-deepseek-v3", "yarn-gpt-oss", "yarn-ministral3"),
    *("llama3-llama31", "ntk-vllm-type", "mla-mscale-mismatch"),
]


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang"])
@pytest.mark.parametrize("name", HEALTHY)
def test_no_export_makes_the_audit_worse(name, engine):
    config, told = RECORDED[name], 0
    for spec in ("native", "yarn:factor=2", "yarn:factor=2,ramp=paper"):
        try:
            document = rw.export(config, spec, engine)
        except rw.RopewalkError:
            continue
        told += 1
        length = document["length"]
        after = written(config, engine, document)
        assert errors(after, engine, length) <= errors(config, engine, length), spec
    assert told or name in ("ntk-vllm-type", "mla-mscale-mismatch")


@pytest.mark.parametrize("name", ["yarn-gpt-oss", "llama3-llama31"])
def test_no_folder_makes_the_audit_worse(name):
    config = RECORDED[name]
    document = portable_block(shape_of(config), "yarn:factor=2,ramp=paper", engine="vllm")
    after = patched(config, document["config"], document["remove"])
    for engine, reason in document["engines"].items():
        if reason is None:
            before = errors(config, engine, document["length"])
            assert errors(after, engine, document["length"]) <= before


@pytest.mark.parametrize("name", ["mla-deepseek-v3", "llama3-llama31"])
def test_what_a_config_says_already_is_not_written_again(name):
    assert rw.export(RECORDED[name], "native", "transformers")["config"] == {}
