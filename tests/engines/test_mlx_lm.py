"""MLX-LM, held against the rotary modules that its release built of these configs.

goldens/mlx_lm.json holds what was executed.
"""

import json

import pytest

import ropewalk as rw
from places import GOLDENS

RECORDED = json.loads((GOLDENS / "mlx_lm.json").read_text("utf-8"))["configs"]
BUILT = [name for name, each in RECORDED.items() if "ropes" in each]
RAISED = [name for name, each in RECORDED.items() if "error" in each]


def answers(name):
    """Of the layers that see farthest, and of those with a window where they have another."""
    recorded = RECORDED[name]
    types = (None,) if len(recorded["ropes"]) == 1 else (None, "sliding_attention")
    return [
        rw.audit(recorded["config"], recorded["length"], layer_type)["readers"]["mlx-lm"]
        for layer_type in types
    ]


@pytest.mark.parametrize("name", BUILT)
def test_frequencies_and_factors_are_those_that_it_built(name):
    found = answers(name)
    for rope in RECORDED[name]["ropes"]:
        same = [
            each["inv_freq"] == pytest.approx(rope["inv_freq"], rel=3e-6, abs=1e-30)
            and each["attention_factor"] == pytest.approx(rope["attention_factor"], rel=1e-6)
            for each in found
        ]
        assert any(same), [(each["error"], each["notes"]) for each in found]


@pytest.mark.parametrize("name", RAISED)
def test_it_is_said_to_raise_where_it_raised(name):
    recorded = RECORDED[name]
    answer = rw.audit(recorded["config"], recorded["length"])["readers"]["mlx-lm"]
    kind = recorded["error"].partition(":")[0]
    assert (answer["error"] or "").startswith(kind)
    assert answer["inv_freq"] is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("llama-v5", "reader-base"),
        ("qwen3_moe-yarn", "reader-frequencies"),
        ("llama-yarn-attention-factor", "reader-factor"),
        ("glm-half", "reader-frequencies"),
        ("phi3-longrope", "long-list-always"),
        ("llama-dynamic", "reader-cache"),
        ("llama-su", "reader-raises"),
    ],
)
def test_what_it_does_otherwise_is_found(name, kind):
    recorded = RECORDED[name]
    reader = rw.audit(recorded["config"], recorded["length"])["readers"]["mlx-lm"]
    assert kind in {finding["id"] for finding in reader["findings"]}


def test_a_base_that_is_lost_says_where_to_write_it():
    """transformers 5 keeps rope_theta inside rope_parameters, which most files do not open."""
    reader = rw.audit(RECORDED["llama-v5"]["config"])["readers"]["mlx-lm"]
    (finding,) = (each for each in reader["findings"] if each["id"] == "reader-base")
    assert finding["remedy"] == 'write "rope_theta": 500000 beside the rope dict'
    assert "the base is 10000, not 5e+05" in finding["message"]


@pytest.mark.parametrize("name", ["SmolLM2", "qwen3-v5"])
def test_where_both_agree_nothing_is_found(name):
    recorded = RECORDED.get(name) or RECORDED["default-smollm2"]
    reader = rw.audit(recorded["config"])["readers"]["mlx-lm"]
    assert reader["findings"] == []


def test_the_four_engines_stay_by_themselves():
    document = rw.audit(RECORDED["qwen3_moe-yarn"]["config"])
    assert [*document["engines"]] == ["transformers", "vllm", "sglang", "llama.cpp"]
    named = {engine for finding in document["findings"] for engine in finding["engines"]}
    assert named <= {*document["engines"]}
