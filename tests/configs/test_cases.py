"""Public reports and published configs, reduced, each with the value that is right.

A file of ``tests/cases`` says where a case is from, what is right, and why. ``reads`` below says
how each of its values is asked for.
"""

import json
from pathlib import Path

import pytest

import ropewalk as rw

CASES = Path(__file__).parents[1] / "cases"


def case(name):
    found = json.loads((CASES / f"{name}.json").read_text("utf-8"))
    return found["config"], found["expected"]


def memory(config, length):
    return rw.plan(config, length)["kv_cache"]["bytes"]


def test_01_a_sparse_text_config_is_its_family_s():
    config, right = case("01-gemma3-4b-sparse")
    full, sliding = rw.inspect(config), rw.inspect(config, layer_type="sliding_attention")
    assert full["head_dim"] == right["head_dim"]
    assert full["trained_length"] == right["max_position_embeddings"]
    assert full["inv_freq"][1] == pytest.approx(right["inv_freq[1] full"], rel=1e-6)
    assert sliding["inv_freq"][1] == pytest.approx(right["inv_freq[1] sliding"], rel=1e-6)
    assert memory(config, 131072) == right["kv_bytes at 131072 bf16"]


@pytest.mark.parametrize("name", ["03-granite4-nope"])
def test_03_nothing_rotates_in_any_command(name):
    config, right = case(name)
    shown = rw.inspect(config)
    assert (shown["rotates"], shown["inv_freq"]) == (right["rotates"], [])
    assert "position_embedding_type is nope" in shown["reason"]
    assert [row["rotates"] for row in shown["layers"]] == [False, False]
    for answer in rw.audit(config)["engines"].values():
        assert (answer["inv_freq"], answer["error"]) == ([], None)
    plan = rw.plan(config, 262144)
    assert (plan["needed"], plan["methods"]) == (False, [])
    assert plan["recommended"] == {"extend": None, "serve": None}
    assert plan["kv_cache"]["bytes"] == 2 * 2 * 4 * 128 * 262144
    for engine in ("transformers", "vllm", "sglang", "llama.cpp"):
        with pytest.raises(rw.RopewalkError, match=r"position_embedding_type is nope.*nothing to"):
            rw.export(config, "yarn:factor=4", engine)


def test_05_bands_of_llama_3_that_touch_are_a_step():
    config, right = case("05-llama4-scout")
    shown = rw.inspect(config)
    assert shown["inv_freq"][34] == pytest.approx(right["inv_freq[34]"], rel=1e-9)
    assert shown["inv_freq"][35] == pytest.approx(right["inv_freq[35]"], rel=1e-9)
    assert memory(config, 10485760) == right["kv_bytes at 10485760 bf16"]
    for answer in rw.audit(config)["engines"].values():
        assert answer["inv_freq"][34:36] == pytest.approx(shown["inv_freq"][34:36], rel=1e-6)


def test_06_a_pattern_of_layers_with_key_heads_and_bases_of_their_own():
    config, right = case("06-mimo-v2-flash")
    shown = rw.inspect(config, layer_type="sliding_attention")
    assert shown["rope_theta"] == right["sliding rope_theta"]
    assert shown["inv_freq"][1] == pytest.approx(right["sliding inv_freq[1]"], rel=1e-6)
    assert memory(config, 262144) == right["kv_bytes at 262144 bf16"]


def test_08_layers_that_share_a_cache():
    config, right = case("08-hunyuan-large-cla-kv")
    assert memory(config, 131072) == right["kv_bytes at 131072 bf16"]


def test_09_qwen_1_stretches_its_base_and_its_logits():
    config, right = case("09-qwen1-14b-dynamic-logn")
    shown = rw.inspect(config, context_length=8192)
    assert shown["trained_length"] == right["trained_length"]
    assert shown["inv_freq"][63] == pytest.approx(right["inv_freq[63] at 8192"], rel=1e-9)
    assert shown["logit_scale"] == pytest.approx(right["logit scale of row 8191"], rel=1e-6)
    assert not rw.plan(config, 8192)["needed"]


def test_10_a_ratio_scales_the_base_and_half_of_each_head_rotates():
    config, right = case("10-chatglm3-rope-ratio")
    shown = rw.inspect(config)
    keys = ("rotary_dim", "rope_theta", "trained_length")
    assert {key: shown[key] for key in keys} == {key: right[key] for key in keys}
    assert rw.RopeGeometry.from_config(config).pairing == right["pairing"]
    assert memory(config, 32768) == right["kv_bytes at 32768 bf16"]


def test_11_a_text_model_two_sections_down():
    config, right = case("11-qwen2.5-omni-thinker")
    shown = rw.inspect(config)
    keys = ("head_dim", "rope_theta", "trained_length")
    assert {key: shown[key] for key in keys} == {key: right[key] for key in keys}
    assert shown["inv_freq"][1] == pytest.approx(right["inv_freq[1]"], rel=1e-9)
    serve = rw.plan(config, 65536)["recommended"]["serve"]
    written = rw.export(config, serve, "transformers")["config"]
    assert "rope_parameters" in written["thinker_config"]["text_config"]


def test_13_a_table_that_is_shorter_than_what_is_admitted():
    config, right = case("13-qwen3-vl-yarn")
    audit = rw.audit(config)
    vllm = audit["engines"]["vllm"]
    assert vllm["attention_factor"] == pytest.approx(right["attention_factor"], rel=1e-6)
    assert vllm["table_rows"] == right["vllm table_rows"]
    assert vllm["max_length"] == right["vllm max_length"]
    assert "short-table" in {finding["id"] for finding in audit["findings"]}


def test_14_a_length_under_the_key_that_its_family_reads():
    config, right = case("14-command-r-model-max-length")
    audit, plan = rw.audit(config), rw.plan(config, 131072)
    for engine in ("vllm", "sglang"):
        assert audit["engines"][engine]["table_rows"] == right[f"{engine} table_rows"]
    assert right["no finding"] not in {finding["id"] for finding in audit["findings"]}
    assert (plan["reach"], plan["needed"]) == (right["plan.reach"], right["plan.needed"])


def test_16_a_static_ntk_of_the_checkpoint_s_own():
    config, right = case("16-gte-ntk")
    shown = rw.inspect(config)
    assert shown["inv_freq"][1] == pytest.approx(right["inv_freq[1]"], rel=1e-9)
    vllm = rw.audit(config)["engines"]["vllm"]
    assert vllm["inv_freq"][1] == pytest.approx(right["inv_freq[1]"], rel=1e-6)


def test_18_a_nested_default_is_no_scaling():
    config, right = case("18-gemma3-nested-default")
    sglang = rw.audit(config)["engines"]["sglang"]
    assert sglang["error"] == right["sglang error"]
    assert sglang["inv_freq"][1] == pytest.approx(right["inv_freq[1]"], rel=1e-6)


def test_19_another_name_of_the_base():
    config, right = case("19-phi3-small-base-key")
    assert rw.inspect(config)["rope_theta"] == right["rope_theta"]


def test_21_configs_without_a_rope_key():
    config, right = case("21-llama1-and-llava-no-rope-keys")
    keys = ("head_dim", "rope_theta", "trained_length")
    assert {key: rw.inspect(config)[key] for key in keys} == {key: right[key] for key in keys}
    sizes = {"hidden_size": 4096, "num_attention_heads": 32, "max_position_embeddings": 2048}
    llama_1 = rw.inspect({"model_type": "llama", **sizes})
    assert [llama_1[key] for key in keys] == [128, 10000.0, 2048]


def test_23_sections_of_pairs_that_do_not_sum():
    config, _ = case("23-mrope-sections-do-not-sum")
    warnings = {warning["id"]: warning["message"] for warning in rw.inspect(config)["warnings"]}
    assert "sum to 60" in warnings["mrope-sections"]
    assert rw.audit(config)["engines"]["vllm"]["error"].startswith("AssertionError")


def test_24_a_rotary_dim_beside_the_head():
    config, right = case("24-minimax-m2-rotary-dim")
    shown = rw.inspect(config)
    assert shown["rotary_dim"] == right["rotary_dim"]
    assert shown["inv_freq"][1] == pytest.approx(right["inv_freq[1]"], rel=1e-6)


def test_25_a_share_beside_the_rope_dict():
    config, right = case("25-glm4-partial-beside-yarn")
    audit = rw.audit(config, 131072)
    answer = audit["engines"]["transformers"]
    assert len(answer["inv_freq"]) == right["pairs"]
    assert answer["attention_factor"] == pytest.approx(right["attention_factor"], rel=1e-6)
    assert right["finding"] in {finding["id"] for finding in audit["findings"]}


def test_26_the_rotary_head_of_latent_attention_turns_in_full():
    config, right = case("26-bailing-mla-partial")
    shown = rw.inspect(config)
    assert shown["rotary_dim"] == right["rotary_dim"]
    assert shown["inv_freq"][1] == pytest.approx(right["inv_freq[1]"], rel=1e-6)
