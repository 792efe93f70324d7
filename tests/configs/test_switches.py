"""Switches of rotation and windows: which family of the library reads which, and what it is told.

The truth is the fields of the library's own config classes.
"""

import inspect
import json

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

import ropewalk as rw
from ropewalk.configs.families import READ_BY

ELSEWHERE = {
    "alibi": {"mpt"},
    "position_embedding_type": {"evolla"},
    "use_sliding_window": {"dots3_note_text", "iquestcoder"},
}
"""Families whose switch is no field: it stands in a section (attn_config, the protein encoder), or
is taken out of the rest (Dots3 Note), or refused unless it is false (IQuestCoder)."""
NOT_TEXT = {
    *("conditional_detr", "deformable_detr", "detr", "grounding-dino", "mm-grounding-dino"),
    *("table-transformer", "deepseek_ocr2_encoder", "got_ocr2", "pp_chart2table"),
}
"""Detectors, and readers whose text section has a family of its own."""
LLAMA = {
    **{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64},
    **{"num_attention_heads": 4, "num_hidden_layers": 4, "max_position_embeddings": 512},
    "rope_theta": 1e4,
}


def fields(model_type):
    cls = CONFIG_MAPPING[model_type]
    stated = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
    return stated | {*inspect.signature(cls.__init__).parameters}


@pytest.mark.slow
def test_the_table_is_the_librarys():
    read = {name: set() for name in READ_BY}
    for model_type in CONFIG_MAPPING_NAMES:
        for name in fields(model_type) & {*READ_BY}:
            read[name].add(model_type)
    for name, families in READ_BY.items():
        assert families - ELSEWHERE.get(name, set()) == read[name] - NOT_TEXT, name


@pytest.mark.parametrize(
    ("key", "value"),
    [("no_rope_layers", [0, 0, 0, 0]), ("alibi", True), ("position_embedding_type", "nope")],
)
def test_a_switch_of_another_family_changes_nothing_and_is_found(key, value):
    config = {**LLAMA, key: value}
    shown, plain = rw.inspect(config), rw.inspect(LLAMA)
    assert shown["inv_freq"] == plain["inv_freq"]
    assert [row["rotates"] for row in shown["layers"]] == [True]
    assert "unread-switch" in {warning["id"] for warning in shown["warnings"]}
    found = [each for each in rw.audit(config)["findings"] if each["id"] == "unread-switch"]
    assert [each["severity"] for each in found] == ["warning"]
    assert found[0]["message"].startswith(f"{key} is ")


def test_a_window_that_a_family_does_not_ask_about():
    """MistralConfig has no use_sliding_window: its window is in force whatever that says."""
    config = {**LLAMA, "model_type": "mistral", "sliding_window": 128}
    off = {**config, "use_sliding_window": False}
    assert rw.inspect(off)["layers"][0]["window"] == 128
    assert rw.plan(off, 512)["kv_cache"] == rw.plan(config, 512)["kv_cache"]
    qwen = {**off, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
    assert rw.inspect(qwen)["layers"][0]["window"] is None
    assert (
        rw.inspect(qwen)["warnings"] == rw.inspect({**qwen, "use_sliding_window": None})["warnings"]
    )


def test_what_no_library_knows_is_taken_at_its_word():
    config = {**LLAMA, "model_type": "somebodys_own", "alibi": True}
    assert not rw.inspect(config)["rotates"]


def test_a_method_beside_the_config_is_found(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    sidecar = {"format": 1, "method": "rerope:window=128"}
    parts = [{"name": "rerope", "arguments": {"window": 128}}]
    (tmp_path / "ropewalk.json").write_text(json.dumps({**sidecar, "parts": parts}))
    for place in (tmp_path, tmp_path / "config.json"):
        first = rw.audit(place)["findings"][0]
        assert (first["id"], first["severity"]) == ("method-beside", "error")
        assert "ropewalk.json states rerope:window=128" in first["message"]
    (tmp_path / "ropewalk.json").unlink()
    assert "method-beside" not in {each["id"] for each in rw.audit(tmp_path)["findings"]}
