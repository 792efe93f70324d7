"""A plan as a decision: three lengths, what short texts pay, and only what is accepted."""

import json
import math

import pytest
import torch

import ropewalk as rw
from places import RESULTS
from ropewalk.cli.main import main
from ropewalk.configs import families
from ropewalk.planning.base_bound import base_bound, holds_to

QWEN3 = {
    **{"model_type": "qwen3_moe", "hidden_size": 2048, "num_attention_heads": 32},
    **{"num_key_value_heads": 4, "head_dim": 128, "num_hidden_layers": 48},
    **{"max_position_embeddings": 40960, "rope_theta": 1e6},
}
LLAMA31 = {
    **{"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32},
    **{"num_key_value_heads": 8, "num_hidden_layers": 32, "rope_theta": 5e5},
    "max_position_embeddings": 131072,
    "rope_scaling": {
        **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "original_max_position_embeddings": 8192,
    },
}
NOMIC = {
    **{"model_type": "nomic_bert", "hidden_size": 768, "num_attention_heads": 12},
    **{"num_hidden_layers": 12, "max_position_embeddings": 2048, "rope_theta": 1000.0},
}


def lengths(plan):
    return plan["pretrained_length"], plan["reach"], plan["length"]


# Three lengths.


def test_pretrained_tuned_and_asked_for_are_three_numbers():
    assert lengths(rw.plan(LLAMA31, 4096)) == (8192, 131072, 4096)
    assert lengths(rw.plan(QWEN3, 65536)) == (40960, 40960, 65536)
    linear = {**QWEN3, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}
    assert lengths(rw.plan(linear, 4096)) == (None, 40960, 4096)


def test_a_card_that_knows_better_than_the_config_is_believed():
    """Qwen3's card: trained at 32,768, and 4 times that with YaRN; its config admits 40,960."""
    plan = rw.plan(QWEN3, 131072, trained_length=32768)
    assert lengths(plan) == (32768, 32768, 131072)
    assert (plan["smallest_factor"], plan["recommended"]["serve"]) == (4.0, "yarn:factor=4")
    (row,) = [row for row in plan["methods"] if row["name"] == "yarn"]
    written = row["engines"]["transformers"]["config"]["rope_parameters"]
    assert (written["factor"], written["original_max_position_embeddings"]) == (4.0, 32768)
    assert rw.plan(QWEN3, 131072)["recommended"]["serve"] == "yarn:factor=3.2"


def test_what_a_scaled_checkpoint_was_tuned_to_changes_no_frequency():
    plan = rw.plan(LLAMA31, 131072, trained_length=65536)
    assert (plan["needed"], lengths(plan)) == (True, (8192, 65536, 131072))
    assert plan["trained_length"] == 8192


@pytest.mark.parametrize("wrong", [1, 0, True, 2**41, "8k"])
def test_a_trained_length_that_is_none_is_refused(wrong):
    with pytest.raises(rw.RopewalkError, match="trained_length="):
        rw.plan(QWEN3, 131072, trained_length=wrong)


@pytest.mark.parametrize(
    ("config", "tuned"),
    [
        (LLAMA31, 131072),
        (QWEN3, 40960),
        ({**QWEN3, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 40960),
        (
            {
                **QWEN3,
                "rope_scaling": {
                    **{"rope_type": "yarn", "factor": 4.0},
                    "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),
    ],
)
def test_no_length_is_called_unsafe_that_a_checkpoint_was_tuned_to(config, tuned):
    shown = rw.inspect(config, tuned)
    assert shown["safe_length"] >= tuned
    assert not any(pair["out_of_range"] for pair in shown["pairs"])
    assert rw.inspect({**config, "rope_theta": 1e7}, tuned)["safe_length"] >= tuned


def test_a_shipped_linear_scaling_is_known_up_to_its_tuned_length_and_no_farther():
    linear = {**QWEN3, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    assert rw.inspect(linear)["safe_length"] == 40960


@pytest.mark.parametrize("wrong", [{"beta_fast": -1}, {"attention_factor": 0}])
def test_nothing_is_recommended_whose_numbers_make_no_rotation(wrong):
    """Within its reach as well: inspect refuses it in the same words."""
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    config = {**QWEN3, "rope_scaling": yarn | wrong}
    with pytest.raises(rw.RopewalkError, match=f"{next(iter(wrong))}=.*above 0"):
        rw.inspect(config)
    with pytest.raises(rw.RopewalkError, match=f"{next(iter(wrong))}=.*above 0"):
        rw.plan(config, 4096)


# The price.


def test_the_price_for_short_texts_is_that_of_what_is_recommended():
    plan = rw.plan(QWEN3, 131072)
    extend, serve = plan["short_context"]["extend"], plan["short_context"]["serve"]
    assert serve["cost"].startswith("every length pays")
    yarn = next(row for row in plan["methods"] if row["name"] == "yarn")
    assert serve["nats_on_the_demo_model"] == yarn["measured"]["nats_above_trained"]["1"] > 0.1
    assert extend["cost"].startswith("small")
    assert rw.plan(QWEN3, 4096)["short_context"]["serve"]["cost"] == "none"


@pytest.mark.parametrize("length", [40961, 50_000, 131_072, 1_000_003])
def test_the_smallest_factor_reaches_and_no_smaller_one_does(length):
    factor = rw.plan(QWEN3, length)["smallest_factor"]
    assert math.isclose(factor * 40960, length)
    assert rw.plan(QWEN3, 40960)["smallest_factor"] == 1.0


@pytest.mark.parametrize(("length", "base"), [(4096, 2.7e4), (8192, 8.4e4), (131072, 7.8e6)])
def test_the_bound_of_the_base_is_the_published_one(length, base):
    """The paper's table for 4k, 8k and 128k: there B(m) turns negative at the length."""
    theta = base ** (-torch.arange(0, 128, 2, dtype=torch.float64) / 128)
    assert abs(holds_to(theta, 2**18) / length - 1) < 0.05
    assert base_bound(length) == pytest.approx(base, rel=0.25)


@pytest.mark.parametrize("base", [1e3, 1e4, 5e5])
def test_what_a_base_holds_to_is_where_the_sum_of_cosines_turns_negative(base):
    theta = [base ** (-2 * i / 64) for i in range(32)]
    wanted = next(m for m in range(2**16) if sum(math.cos(m * t) for t in theta) < 0)
    found = holds_to(torch.tensor(theta, dtype=torch.float64), 2**16)
    assert abs(found - wanted) <= 1  # float32 may see the crossing a token later
    assert holds_to(torch.tensor(theta, dtype=torch.float64), wanted) is None


def test_a_base_below_the_bound_is_named():
    base = rw.plan({**QWEN3, "rope_theta": 1e4}, 131072)["base"]
    assert base["rope_theta"] < base["lower_bound"]
    assert base["holds_to"] < 4096
    assert rw.plan({**QWEN3, "rope_theta": 1e8}, 131072)["base"]["holds_to"] is None


# What is accepted.


def test_a_bidirectional_model_is_recommended_no_map_of_regions():
    plan = rw.plan(NOMIC, 4096)
    rows = {row["name"]: row for row in plan["methods"]}
    assert "bidirectional" in rows["dual_chunk"]["extend"]
    assert plan["recommended"]["extend"] == "dynamic_yarn"


def test_a_family_that_extend_refuses_is_recommended_nothing():
    falcon = {**QWEN3, "model_type": "falcon", "alibi": False, "max_position_embeddings": 2048}
    plan = rw.plan(falcon, 4096)
    assert plan["recommended"]["extend"] is None
    assert all("attention of its own" in row["extend"] for row in plan["methods"] if row["method"])


def test_the_families_of_these_rules_are_those_that_were_measured():
    found = json.loads((RESULTS / "families.json").read_text("utf-8"))
    refused = {
        family
        for family, row in found["swept"].items()
        if f"{family} is not supported" in row.get("reason", "")
    }
    assert refused == families.NOT_EXTENDED
    rows = {**found["tested"], **found["swept"]}
    both = {family for family, row in rows.items() if row.get("bidirectional")}
    assert both <= families.BOTH_WAYS
    assert not families.BOTH_WAYS & {f for f, row in rows.items() if row.get("layers")} - both


def test_where_no_engine_has_what_reaches_the_nearest_is_said_with_its_caveat():
    plan = rw.plan(QWEN3, 600 * 40960)
    assert plan["recommended"] == {"extend": None, "serve": None}
    nearest = plan["nearest"]
    assert nearest["engines"]["vllm"]["command"]
    assert "was not reported beyond" in nearest["caveat"]
    assert rw.plan(QWEN3, 131072)["nearest"] is None


# The terminal.


def test_what_is_to_be_copied_is_whole_at_80_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / "config.json"
    file.write_text(json.dumps(QWEN3))
    assert main(["plan", str(file), "--length", "131072", "--trained-length", "32768"]) == 0
    lines = capsys.readouterr().out.splitlines()
    plan = rw.plan(QWEN3, 131072, trained_length=32768)
    for row in plan["methods"]:
        if row["method"] and row["status"] != "out of reach":
            assert row["method"] in lines
    table = [line for line in lines if line.strip().startswith("yarn ")]
    assert len(table) == 1
    assert len(table[0].rstrip()) <= 80
    assert "1,048,576" in table[0]
