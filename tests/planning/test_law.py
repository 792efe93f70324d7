"""inspect, plan, audit and export never contradict one another, whatever the family."""

import pytest

import ropewalk as rw
from recipes.families.sharpened import L0, token_ids
from recipes.population.caches import causal_families, tiny
from recipes.population.library import NotBuilt, default_config, model_types

ENGINES = ("transformers", "vllm", "sglang", "llama.cpp")
TYPES = model_types()
WINDOWS_AND_NOPE = {
    **{"model_type": "cohere2", "hidden_size": 4096, "num_attention_heads": 32},
    **{"num_key_value_heads": 8, "num_hidden_layers": 32, "max_position_embeddings": 131072},
    **{"rope_theta": 5e4, "sliding_window": 4096},
}


def agree(config, length):
    """Every command on one config; refusals of the config itself are the same in all."""
    try:
        shown = rw.inspect(config)
    except rw.RopewalkError:
        with pytest.raises(rw.RopewalkError):
            rw.plan(config, length)
        return
    plan = rw.plan(config, length)
    recommended = plan["recommended"]
    if not shown["rotates"]:
        assert shown["reason"].lower() in plan["summary"].lower()
        assert all(answer["inv_freq"] == [] for answer in rw.audit(config)["engines"].values())
    if not plan["methods"]:
        assert (plan["needed"], recommended) == (False, {"extend": None, "serve": None})
        assert not any(row["limits"] for row in plan["layers"])
        for engine in ENGINES:
            with pytest.raises(rw.RopewalkError) as refusal:
                rw.export(config, "yarn:factor=4", engine)
            said = str(refusal.value).removeprefix(f"yarn:factor=4 on {engine}: ").lower()
            assert plan["summary"].lower().startswith(said)
        return
    if not plan["needed"]:
        (row,) = plan["methods"]
        assert not any(engine["config"] for engine in row["engines"].values())
    elif recommended["serve"] is not None:
        row = next(row for row in plan["methods"] if row["served"] == recommended["serve"])
        assert any("error" not in engine for engine in row["engines"].values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", TYPES[::15])
def test_commands_agree_on_every_family(model_type):
    try:
        config = default_config(model_type)
    except NotBuilt:
        return
    for length in (64, 2**20):
        agree(config, length)


def extended(family):
    """What ``plan`` recommends to extend a tiny model with, put into it; where it refuses the
    config or recommends nothing, ``extend`` refuses the model."""
    model = tiny(family)
    try:
        recommended = rw.plan(model.config.to_dict(), 4 * L0)["recommended"]["extend"]
    except rw.RopewalkError:
        recommended = None
    if recommended is None:
        with pytest.raises(rw.RopewalkError):
            rw.extend(model, "yarn:factor=4")
        return
    with rw.extend(model, recommended):
        assert model(token_ids(1, 2 * L0), use_cache=False).logits.isfinite().all()


EXTENDED = (
    *("llama", "falcon", "gemma3_text", "cohere2", "smollm3", "deepseek_v3", "phi3", "gpt_oss"),
    *("qwen3_next", "granitemoehybrid", "mistral", "llama4_text", "granite_swa"),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", EXTENDED)
def test_what_is_recommended_is_what_extend_accepts(family):
    extended(family)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", causal_families())
def test_what_is_recommended_is_what_extend_accepts_of_every_family(family):
    try:
        tiny(family)
    except NotBuilt as error:
        pytest.skip(str(error))
    extended(family)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", TYPES)
def test_commands_agree_on_all_families(model_type):
    test_commands_agree_on_every_family(model_type)


def test_windows_that_rotate_and_global_layers_without_positions_need_no_scaling():
    """Eight global layers hear nothing of RoPE; log-n is what is left to them."""
    plan = rw.plan(WINDOWS_AND_NOPE, 524288)
    assert plan["recommended"] == {"extend": None, "serve": None}
    assert "RoPE needs no scaling at any length: the 24 layers that rotate" in plan["summary"]
    assert "the 8 layers that see all tokens have no positions" in plan["summary"]
    assert "2504.08719" in plan["summary"]
    sliding, full = plan["layers"]
    assert (sliding["rotates"], sliding["limits"], full["rotates"]) == (True, False, False)
    agree(WINDOWS_AND_NOPE, 524288)


def test_a_healthy_config_is_not_edited():
    """DeepSeek-V3 within its reach: its mscale stays where it is."""
    config = {
        **{"model_type": "deepseek_v3", "hidden_size": 7168, "num_attention_heads": 128},
        **{"num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64},
        **{"qk_nope_head_dim": 128, "v_head_dim": 128, "max_position_embeddings": 163840},
        "rope_theta": 10000,
        "rope_scaling": {
            **{"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0},
            **{"mscale_all_dim": 1.0, "original_max_position_embeddings": 4096},
        },
    }
    plan = rw.plan(config, 131072)
    assert not plan["needed"]
    (row,) = plan["methods"]
    assert all(engine["config"] == {} for engine in row["engines"].values())
