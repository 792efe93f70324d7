"""Checkpoints: what is loaded, their fingerprints, configs, and folders that are none."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_checkpoints import SIZES, refusal

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.loading import fingerprint, load_config, load_model


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# What is loaded.


def test_a_folder_is_loaded_in_eval_mode_with_its_weights(saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.name == "tiny"
    assert not loaded.model.training
    stored = load_file(saved / "model.safetensors")
    tensors = loaded.model.state_dict()
    for name, tensor in stored.items():
        torch.testing.assert_close(tensors[name].cpu(), tensor, rtol=0, atol=0)
    assert {key: loaded.config[key] for key in SIZES} == SIZES
    assert loaded.require_tokenizer()("w3 w1 w2").input_ids == [3, 1, 2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_weights_come_in_the_dtype_asked_for(saved: Path, dtype: torch.dtype) -> None:
    model = load_model(saved, dtype=dtype).model
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_the_name_of_a_relative_folder_is_the_folders(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved)
    assert load_model(".").name == "tiny"


def test_loading_draws_nothing_and_restores_the_librarys_settings(
    saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model(saved)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_a_folder_without_tokenizer_loads_and_says_so_when_one_is_needed(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    loaded = load_model(folder)
    assert loaded.tokenizer is None
    with pytest.raises(RopewalkError, match="no tokenizer; expected"):
        loaded.require_tokenizer()


def test_sharded_weights_load(saved: Path, tmp_path: Path) -> None:
    whole = load_model(saved)
    whole.model.save_pretrained(tmp_path / "sharded", max_shard_size="5KB")
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 1
    assert load_model(tmp_path / "sharded").fingerprint == whole.fingerprint


# The fingerprint.


def test_fingerprint_is_sha256_of_names_dtypes_shapes_and_bytes() -> None:
    layer = torch.nn.Linear(2, 1)
    digest = hashlib.sha256()
    for name in ("bias", "weight"):
        tensor = getattr(layer, name).detach()
        digest.update(f"{name} torch.float32 {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    assert fingerprint(layer) == digest.hexdigest()


def test_fingerprint_changes_with_the_last_bit_of_one_weight() -> None:
    layer = torch.nn.Linear(3, 2).requires_grad_(requires_grad=False)
    before = fingerprint(layer)
    last = layer.weight[1, 2].clone()
    layer.weight[1, 2] = torch.nextafter(last, last + 1)
    assert fingerprint(layer) != before
    layer.weight[1, 2] = last
    assert fingerprint(layer) == before


def test_fingerprint_tells_dtypes_and_shapes_of_equal_bytes_apart() -> None:
    def of(tensor: torch.Tensor) -> str:
        module = torch.nn.Module()
        module.register_buffer("x", tensor)
        return fingerprint(module)

    bits = torch.zeros(4, dtype=torch.int32)
    assert len({of(bits), of(bits.view(torch.float32)), of(bits.view(2, 2))}) == 3
    assert of(torch.tensor(1.0)) != of(torch.tensor(2.0))  # no dimension at all


# Configs.


def test_load_config_reads_a_file_a_folder_and_nothing_else(saved: Path) -> None:
    written = json.loads((saved / "config.json").read_text())
    assert load_config(saved) == written
    assert load_config(str(saved / "config.json")) == written


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[1, 2]", "holds a JSON list; expected an object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"num_hidden_layers": 1000000000000}', "num_hidden_layers=1000000000000: expected"),
        (b'{"hidden_size": -16}', "hidden_size=-16: expected an integer, 1 to"),
        (b'{"vocab_size": "many"}', "vocab_size='many': expected an integer"),
        (b'{"head_dim": true}', "head_dim=True: expected an integer"),
        (b'{"text_config": {"num_attention_heads": 0}}', "num_attention_heads=0: expected"),
        (b'{"intermediate_size": [32, -1]}', "intermediate_size=-1: expected"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(RopewalkError) as caught:
        load_config(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_sizes_given_for_each_layer_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"intermediate_size": [32, 64]}')
    assert load_config(path) == {"intermediate_size": [32, 64]}


# Folders that are no checkpoint.


def test_a_folder_without_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "no config.json; expected a transformers folder" in refusal(folder)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "no weights; expected model*.safetensors" in refusal(folder)


def test_pickled_weights_are_never_read(folder: Path, tmp_path: Path) -> None:
    """The pickle would create a file when read."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(tmp_path / 'trapped')!r}, 'w')",))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert "pickled weights, which can run code and are never read" in refusal(folder)
    assert not (tmp_path / "trapped").exists()


def test_code_in_the_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'trapped')!r}, 'w')\n"
    (folder / "remote.py").write_text(code)
    maps = {"AutoConfig": "remote.Config", "AutoModelForCausalLM": "remote.Model"}
    edit_config(folder, model_type="remote", auto_map=maps)
    assert str(folder) in refusal(folder)
    assert not (tmp_path / "trapped").exists()


def test_a_folder_with_a_gguf_file_points_to_the_file(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")
    assert f"give the file: {folder / 'model.gguf'}" in refusal(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00001-of-00002.safetensors" in refusal(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert str(folder) in refusal(folder)


def test_weights_that_do_not_fill_the_model_are_refused(folder: Path) -> None:
    """transformers would fill the gap with random numbers and go on."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    message = refusal(folder)
    assert "1 tensors of the model are not in the weights" in message
    assert "model.layers.1.mlp.up_proj.weight" in message


def test_a_config_of_another_width_is_refused(folder: Path) -> None:
    edit_config(folder, intermediate_size=48)
    assert str(folder) in refusal(folder)


def test_a_config_far_larger_than_its_weights_is_refused_at_once(folder: Path) -> None:
    """36 terabytes, were they allocated."""
    edit_config(folder, hidden_size=2**20, vocab_size=2**23)
    assert "config.json describes" in refusal(folder)


def test_an_unknown_model_type_is_named(folder: Path) -> None:
    edit_config(folder, model_type="lama")
    message = refusal(folder)
    assert "lama" in message
    assert str(folder) in message


def test_a_model_that_is_no_causal_language_model_is_refused(folder: Path) -> None:
    edit_config(folder, model_type="t5")
    assert "model_type='t5': expected a causal language model" in refusal(folder)


def test_a_broken_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    assert str(folder) in refusal(folder)
