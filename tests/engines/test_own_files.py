"""An engine's own file for an architecture decides, and what no file loads is not answered for."""

import json
from pathlib import Path

import pytest

import ropewalk as rw
from ropewalk.configs.families import WITHOUT_CLASS
from ropewalk.engines.backend import INCOMPATIBLE

SIZES = {
    **{"hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 4},
    **{"max_position_embeddings": 32768, "rope_theta": 1e4},
}


def case(name):
    found = json.loads((Path(__file__).parents[1] / "cases" / f"{name}.json").read_text("utf-8"))
    return found["config"], found["expected"]


def errors(config):
    return {name: each["error"] for name, each in rw.audit(config)["engines"].items()}


def test_09_qwen_1_is_loaded_by_neither_library():
    config, right = case("09-qwen1-14b-dynamic-logn")
    found = errors(config)
    assert "supported in vLLM until v0.23.0" in found["vllm"]
    assert right["vllm"].endswith("0.23.0")
    assert "no class of qwen" in found["transformers"]


def test_19_phi3_small_is_loaded_by_neither_library():
    config, _ = case("19-phi3-small-base-key")
    found = errors(config)
    assert "supported in vLLM until v0.9.2" in found["vllm"]
    assert "no class of phi3small" in found["transformers"]


def test_families_without_a_class_have_none_in_the_library():
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    assert not [name for name in WITHOUT_CLASS if name in CONFIG_MAPPING]


def test_incompatible_classes_are_those_of_the_library():
    import transformers

    found = {name for name in INCOMPATIBLE if getattr(transformers, name).is_backend_compatible()}
    assert not found


def test_a_class_whose_attention_cannot_be_replaced_is_not_served():
    config = {"model_type": "codegen", "architectures": ["CodeGenForCausalLM"], **SIZES}
    found = errors({**config, "rotary_dim": 64, "n_positions": 2048})
    for engine in ("vllm", "sglang"):
        assert found[engine].startswith("cannot load")
        with pytest.raises(rw.RopewalkError, match="cannot load"):
            rw.export(config, "yarn:factor=2", engine)


def test_what_has_no_file_runs_as_the_library_s_class():
    """Helium: vLLM 0.33.0 and SGLang 0.5.23 have none, and its class takes another attention."""
    config = {"model_type": "helium", "architectures": ["HeliumForCausalLM"], **SIZES}
    found = rw.audit(config)["engines"]
    for engine in ("vllm", "sglang"):
        assert found[engine]["table_rows"] is None
        assert any("HeliumForCausalLM" in note for note in found[engine]["notes"])


MINICPM3 = {
    "model_type": "minicpm3",
    "architectures": ["MiniCPM3ForCausalLM"],
    **{"hidden_size": 2560, "num_attention_heads": 40, "num_hidden_layers": 62},
    **{"qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "kv_lora_rank": 256, "v_head_dim": 64},
    "max_position_embeddings": 32768,
    "rope_theta": 1e4,
    "rope_scaling": {
        **{"type": "longrope", "original_max_position_embeddings": 32768},
        **{"short_factor": [1.0 + i / 16 for i in range(16)]},
        **{"long_factor": [2.0 + i / 16 for i in range(16)]},
    },
}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_minicpm_3_is_latent_attention_without_deepseek_s_yarn(engine):
    """Its own file hands the rope dict on as it is (models/minicpm3.py): lists, no mscale."""
    found = rw.audit(MINICPM3)["engines"][engine]
    assert found["inv_freq_long"] == pytest.approx(
        [1e4 ** (-2 * i / 32) / (2 + i / 16) for i in range(16)], rel=1e-6
    )
    assert (found["error"], found["softmax_scale_multiplier"]) == (None, 1.0)


def test_sglang_takes_the_base_of_a_layer_from_its_list_alone():
    """models/granite.py of 0.5.23: config.layer_rope_theta[layer_id]."""
    config = {
        **SIZES,
        **{"model_type": "granite_swa", "architectures": ["GraniteSWAForCausalLM"]},
        **{"rope_theta": 1e4, "layer_rope_theta": [5e5, 5e5, 5e5, 0]},
    }
    assert rw.audit(config)["engines"]["sglang"]["inv_freq"][1] == pytest.approx(
        5e5 ** (-2 / 128), rel=1e-6
    )


SECTIONS = {
    "model_type": "qwen2_vl",
    "architectures": ["Qwen2VLForConditionalGeneration"],
    **{**SIZES, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}},
}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_sections_have_no_class_of_lists(engine):
    with pytest.raises(rw.RopewalkError, match="mrope_section"):
        rw.export(SECTIONS, "llama3:factor=4", engine)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_lists_are_for_pairs_of_halves(engine):
    config = {"model_type": "cohere", "architectures": ["CohereForCausalLM"], **SIZES}
    with pytest.raises(rw.RopewalkError, match="neox_style"):
        rw.export(config, "yarn:factor=4,ramp=paper", engine)
    assert rw.export(config, "yarn:factor=4", engine)["command"]
