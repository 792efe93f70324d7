"""A checkpoint folder is whole and checked, or it is none."""

import errno
import json

import pytest
import torch
from transformers import AutoModelForCausalLM

import ropewalk as rw
from recipes.families.sharpened import L0, logits, tiny, token_ids
from ropewalk.integrations.folders import patched, saving, write_folder
from ropewalk.integrations.restating import restated
from ropewalk.integrations.sameness import last_logits, require_same

YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 1e4,
    "original_max_position_embeddings": L0,
}
PATCH = {"rope_parameters": YARN, "max_position_embeddings": 4 * L0}
IDS = token_ids(1, 40)


def accept(folder):
    assert json.loads((folder / "config.json").read_text())


def test_the_folder_says_what_it_was_told_and_plain_transformers_does_it(tmp_path):
    model = tiny(num_hidden_layers=2, dtype=torch.float32)
    out = tmp_path / "new"
    write_folder(out, fill=saving(model, None), check=accept, patch=PATCH, card="# Card\n")
    loaded = AutoModelForCausalLM.from_pretrained(out)
    with rw.extend(model, "yarn:factor=4"):
        torch.testing.assert_close(logits(loaded, IDS), logits(model, IDS), rtol=0, atol=2e-5)
    assert (out / "README.md").read_text() == "# Card\n"
    assert sorted(each.name for each in out.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]


def test_what_the_check_refuses_is_not_there(tmp_path):
    out = tmp_path / "new"
    (out / "training").mkdir(parents=True)

    def refuse(folder):
        assert (folder / "model.safetensors").is_file()
        raise rw.RopewalkError("not the same")

    with pytest.raises(rw.RopewalkError, match="not the same"):
        write_folder(out, fill=saving(tiny(num_hidden_layers=1), None), check=refuse)
    assert [each.name for each in out.iterdir()] == ["training"]


def test_a_full_disk_leaves_no_checkpoint(tmp_path):
    def fill(folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(rw.RopewalkError, match="No space left on device"):
        write_folder(tmp_path / "new", fill=fill, check=accept)
    assert not list((tmp_path / "new").iterdir())


def test_another_checkpoint_is_not_written_over(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(rw.RopewalkError, match="holds a checkpoint already"):
        write_folder(tmp_path, fill=saving(tiny(num_hidden_layers=1), None), check=accept)
    assert (tmp_path / "config.json").read_text() == "{}"


def test_a_sidecar_of_before_does_not_survive(tmp_path):
    def fill(folder):
        saving(tiny(num_hidden_layers=1), None)(folder)
        (folder / "ropewalk.json").write_text("{}")

    write_folder(tmp_path / "new", fill=fill, check=accept)
    assert not (tmp_path / "new" / "ropewalk.json").exists()


def test_keys_of_a_text_model_stay_in_their_place():
    config = {"vision_config": {"a": 1}, "text_config": {"rope_scaling": {"type": "x"}, "b": 2}}
    found = patched(config, {"text_config": {"rope_parameters": {"c": 3}}}, ["rope_scaling"])
    assert found == {
        "vision_config": {"a": 1},
        "text_config": {"b": 2, "rope_parameters": {"c": 3}},
    }


def test_a_rope_dict_takes_the_place_of_the_whole_one():
    config = {"rope_parameters": {"rope_type": "yarn", "beta_fast": 32}}
    assert patched(config, {"rope_parameters": {"rope_type": "default"}}) == {
        "rope_parameters": {"rope_type": "default"}
    }


def test_a_restated_model_has_the_same_weights_and_its_own_copies():
    model = tiny(num_hidden_layers=2, tie_word_embeddings=True, dtype=torch.float32)
    before = logits(model, IDS)
    other = restated(model, PATCH)
    with rw.extend(model, "yarn:factor=4"):
        torch.testing.assert_close(logits(other, IDS), logits(model, IDS), rtol=0, atol=2e-5)
    assert other.lm_head.weight is other.model.embed_tokens.weight
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(logits(model, IDS), before)


def test_other_logits_are_not_taken_for_the_same():
    model = tiny(num_hidden_layers=2, dtype=torch.float32)
    one, other = last_logits(model, IDS[0]), last_logits(restated(model, PATCH), IDS[0])
    assert one.shape == (4, 97)
    torch.testing.assert_close(one, logits(model, IDS)[0, [9, 19, 29, 39]], rtol=0, atol=1e-5)
    require_same(one, one, "it")
    with pytest.raises(rw.RopewalkError, match="gives other logits"):
        require_same(other, one, "it")
