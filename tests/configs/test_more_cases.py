"""Two more public reports or configs of each kind, each with the value that is right.

As test_cases.py; kinds A to I and L. Values were executed with the library or with an engine, or
worked out from its code: each file of ``tests/cases`` says which.
"""

import json
from copy import deepcopy
from pathlib import Path

import pytest

import gguf_files
import ropewalk as rw

CASES = Path(__file__).parents[1] / "cases"
ENGINES = ("transformers", "vllm", "sglang", "llama.cpp")


def case(name):
    found = json.loads((CASES / f"{name}.json").read_text("utf-8"))
    return found["config"], found["expected"]


def memory(config, length):
    return rw.plan(config, length)["kv_cache"]["bytes"]


def found(audit):
    return {finding["id"] for finding in audit["findings"]}


def close(value):
    return pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["52-zamba2-no-mem-rope", "53-falcon-rw-alibi"])
def test_a_switch_turns_every_command_off(name):
    config, right = case(name)
    shown, plan = rw.inspect(config), rw.plan(config, 65536)
    assert (shown["rotates"], shown["inv_freq"]) == (right["rotates"], [])
    assert right["reason"] in shown["reason"]
    assert plan["recommended"] == {"extend": None, "serve": None}
    for answer in rw.audit(config)["engines"].values():
        assert answer["inv_freq"] == []
    for engine in ENGINES:
        with pytest.raises(rw.RopewalkError, match=right["reason"]):
            rw.export(config, "yarn:factor=4", engine)


def test_53_biases_keep_their_cache():
    config, right = case("53-falcon-rw-alibi")
    assert memory(config, 4096) == right["kv_bytes at 4096 bf16"]


def test_54_a_share_that_is_stated_nowhere():
    config, right = case("54-glm-4-unstated-share")
    shown, reader = rw.inspect(config), rw.audit(config)["readers"]["mlx-lm"]
    assert shown["rotary_dim"] == right["rotary_dim"]
    assert shown["inv_freq"][1] == close(right["inv_freq[1]"])
    assert len(reader["inv_freq"]) == right["mlx-lm pairs"]
    assert right["mlx-lm finding"] in found(reader)


def test_55_a_text_section_of_five_keys():
    config, right = case("55-paligemma-sparse-text")
    shown = rw.inspect(config)
    keys = ("head_dim", "rope_theta", "trained_length")
    assert {key: shown[key] for key in keys} == {key: right[key] for key in keys}
    assert shown["inv_freq"][1] == close(right["inv_freq[1]"])
    assert memory(config, 8192) == right["kv_bytes at 8192 bf16"]


def test_56_a_share_under_an_old_name():
    config, right = case("56-stablelm-epoch-rope-pct")
    shown = rw.inspect(config)
    assert shown["rotary_dim"] == right["rotary_dim"]
    assert shown["inv_freq"][1] == close(right["inv_freq[1]"])
    assert right["vllm"] in rw.audit(config)["engines"]["vllm"]["error"]


def test_57_a_base_under_another_name():
    config, right = case("57-pythia-rotary-emb-base")
    shown = rw.inspect(config)
    assert (shown["rope_theta"], shown["rotary_dim"]) == (right["rope_theta"], right["rotary_dim"])
    assert shown["inv_freq"][1] == close(right["inv_freq[1]"])
    vllm = rw.audit(config)["engines"]["vllm"]
    assert vllm["inv_freq"][1] == close(right["inv_freq[1]"])


def test_58_a_text_model_under_another_name():
    config, right = case("58-internvl2-llm-config")
    shown, audit = rw.inspect(config), rw.audit(config)
    keys = ("head_dim", "rope_theta", "trained_length")
    assert {key: shown[key] for key in keys} == {key: right[key] for key in keys}
    (section,) = (each for each in audit["findings"] if each["id"] == "text-section")
    assert f'write the override inside "{right["section"]}"' == section["remedy"]
    assert memory(config, 32768) == right["kv_bytes at 32768 bf16"]


def test_59_a_rope_dict_outside_the_text_section():
    config, right = case("59-rope-dict-beside-text-config")
    shown, audit = rw.inspect(config), rw.audit(config)
    assert shown["inv_freq"][63] == close(right["inv_freq[63]"])
    assert right["finding"] in {warning["id"] for warning in shown["warnings"]}
    assert right["finding"] in found(audit)
    for engine in ("transformers", "vllm", "sglang"):
        assert audit["engines"][engine]["error"].startswith(right["transformers"])
    factor = audit["engines"]["llama.cpp"]["attention_factor"]
    assert factor == close(right["llama.cpp attention_factor"])
    linear = deepcopy(config)
    linear["rope_scaling"] = {"rope_type": "linear", "factor": 4.0}
    for answer in rw.audit(linear)["engines"].values():
        assert answer["inv_freq"][63] == pytest.approx(right["inv_freq[63]"], rel=1e-5)


def test_60_layers_without_attention_and_groups_of_their_own():
    config, right = case("60-nemotron-nas-blocks")
    plan = rw.plan(config, 131072)
    assert plan["kv_cache"]["bytes"] == right["kv_bytes at 131072 bf16"]
    rows = rw.inspect(config)["layers"]
    heads = [row["key_heads"] for row in rows if row["attention"] != "none"]
    assert heads == right["key heads of the layers that attend"]


def test_61_key_heads_of_each_layer():
    config, right = case("61-decilm-key-heads-of-layers")
    assert memory(config, 8192) == right["kv_bytes at 8192 bf16"]


def test_62_latent_attention_with_a_file_of_its_own():
    config, right = case("62-minicpm3-own-file")
    engines = rw.audit(config)["engines"]
    for name in ("transformers", "vllm", "sglang"):
        assert engines[name]["inv_freq"][1] == close(right["inv_freq[1]"])
        for key in ("attention_factor", "softmax_scale_multiplier"):
            assert engines[name][key] == right[key]


def test_63_a_model_that_nobody_loads_is_not_answered_for():
    config, right = case("63-baichuan-is-not-loaded")
    with pytest.raises(rw.RopewalkError, match="no rope fields"):
        rw.audit(config)
    audit = rw.audit({**config, "rope_theta": 10000.0})
    answers = audit["engines"] | audit["readers"]
    for name in ("vllm", "transformers", "mlx-lm", "ollama"):
        assert right[name] in answers[name]["error"]
        assert answers[name]["inv_freq"] is None


def test_64_bands_of_llama_3_2():
    config, right = case("64-llama-3.2-bands")
    shown = rw.inspect(config)["inv_freq"]
    assert shown[1] == close(right["inv_freq[1]"])
    assert shown[31] == close(right["inv_freq[31]"])
    assert sum(shown) == pytest.approx(right["sum"], rel=1e-9)
    for answer in rw.audit(config)["engines"].values():
        assert answer["inv_freq"][31] == pytest.approx(right["inv_freq[31]"], rel=1e-5)


def test_65_bands_that_touch_and_bands_that_cross():
    config, right = case("65-llama-3-bands-touch-at-4")
    shown = rw.inspect(config)["inv_freq"]
    assert shown[28:30] == close([right["inv_freq[28]"], right["inv_freq[29]"]])
    crossed = deepcopy(config)
    crossed["rope_scaling"]["high_freq_factor"] = 1.0
    with pytest.raises(rw.RopewalkError, match=right["exchanged"]):
        rw.inspect(crossed)


@pytest.mark.parametrize("name", ["66-chinese-alpaca-16k", "67-vicuna-16k-two-lengths"])
def test_the_reach_of_a_linear_scaling(name):
    config, right = case(name)
    plan, audit = rw.plan(config, 16384), rw.audit(config)
    assert plan["reach"] == right["reach"]
    assert not plan["needed"]
    assert plan["pretrained_length"] is None
    assert audit["engines"]["vllm"]["max_length"] == right["vllm max_length"]
    assert rw.plan(config, 32768)["needed"]


def test_66_a_length_that_is_multiplied_once_more():
    config, right = case("66-chinese-alpaca-16k")
    assert right["finding"] in found(rw.audit(config))


@pytest.mark.parametrize(
    "name", ["68-gguf-yarn-without-original", "69-gguf-linear-over-rope-freqs"]
)
def test_keys_and_tensors_of_a_gguf_file(name, tmp_path):
    header, right = case(name)
    file = gguf_files.write(
        tmp_path / "model.gguf", header["architecture"], header["fields"], header["factors"]
    )
    shown, audit = rw.inspect(file), rw.audit(file)
    answer = audit["engines"]["llama.cpp"]
    for key in (each for each in right if each.startswith("inv_freq[")):
        pair = int(key[9:-1])
        assert answer["inv_freq"][pair] == pytest.approx(right[key], rel=1e-5), key
        assert shown["inv_freq"][pair] == pytest.approx(right[key], rel=1e-5), key
    assert answer["attention_factor"] == close(right["attention_factor"])
    assert audit["readers"]["ollama"]["inv_freq"] == answer["inv_freq"]
    (said,) = audit["engines"]["transformers"]["notes"]
    assert said.startswith("drops the scaling")


@pytest.mark.parametrize(
    "name", ["74-qwen3.5-sections-of-a-quarter", "75-glm-4.1v-sections-of-a-half"]
)
def test_sections_sum_to_the_pairs_that_rotate(name):
    config, right = case(name)
    shown, vllm = rw.inspect(config), rw.audit(config)["engines"]["vllm"]
    assert len(shown["inv_freq"]) == right["pairs"]
    assert shown["inv_freq"][1] == close(right["inv_freq[1]"])
    assert "mrope-sections" not in {warning["id"] for warning in shown["warnings"]}
    assert vllm["error"] is None
    whole = deepcopy(config)
    text = whole["text_config"]
    text["partial_rotary_factor"] = 1.0
    text.get("rope_parameters", {}).pop("partial_rotary_factor", None)
    (warning,) = (w for w in rw.inspect(whole)["warnings"] if w["id"] == "mrope-sections")
    assert right["with the whole head"] in warning["message"]
    assert rw.audit(whole)["engines"]["vllm"]["error"].startswith("AssertionError")
