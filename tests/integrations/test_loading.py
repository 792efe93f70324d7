"""Loading: folders, .gguf files and hub ids; and what bad ones are answered with."""

import hashlib
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.loading import fingerprint, load_config, load_model
from ropewalk.integrations.sources import Checkpoint, ConfigFile, HubId, locate

SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a word-level tokenizer, saved by transformers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder)
    words = {f"w{i}": i for i in range(63)} | {"[UNK]": 63}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refusal(source: str | Path) -> str:
    """The one line with which loading ``source`` is refused."""
    with pytest.raises(RopewalkError) as caught:
        load_model(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


# What is loaded


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


# The fingerprint


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


# Configs


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


# Folders that are no checkpoint


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


# Names and paths


@pytest.mark.parametrize(
    "source",
    ["./nothing", "/nothing/here", "~/nothing-here", "a/b/c", "nothing.gguf", "config.json", "a/"],
)
def test_a_path_that_does_not_exist_is_no_hub_id(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"{source}: no such file or folder" in refusal(source)


@pytest.mark.parametrize("source", ["", "two words", "a/b?", "-x"])
def test_a_name_that_is_no_hub_id_is_refused(source: str) -> None:
    assert "neither a path nor a hub id" in refusal(source)


def test_sources_are_told_apart(saved: Path) -> None:
    here = locate(str(saved))
    assert here == Checkpoint(folder=saved, gguf_file=None, name="tiny")
    assert locate(saved / "config.json") == ConfigFile(path=saved / "config.json")
    assert locate("someone/some-model") == HubId(repo_id="someone/some-model")
    assert locate("gpt2") == HubId(repo_id="gpt2")


def test_a_config_alone_is_no_model(saved: Path) -> None:
    assert "a config has no weights" in refusal(saved / "config.json")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("words")
    assert "not a model that can be read" in refusal(path)


# GGUF files


def write_gguf(path: Path, scaling: Mapping[str, object], factors: np.ndarray | None) -> None:
    """The tiny Llama, one layer, every weight its own constant, with a byte-pair tokenizer."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(32)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(12345.0)
    for key, value in scaling.items():
        add = writer.add_string if isinstance(value, str) else writer.add_float32
        add(f"llama.rope.scaling.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab", "<end>"])
    writer.add_token_merges(["a b"])
    writer.add_token_types([1, 1, 1, 3])
    writer.add_eos_token_id(3)
    shapes = {"token_embd": (4, 16), "output_norm": (16,), "blk.0.attn_norm": (16,)}
    shapes |= {"blk.0.ffn_norm": (16,), "blk.0.attn_q": (16, 16), "blk.0.attn_k": (8, 16)}
    shapes |= {"blk.0.attn_v": (8, 16), "blk.0.attn_output": (16, 16)}
    shapes |= {"blk.0.ffn_gate": (32, 16), "blk.0.ffn_up": (32, 16), "blk.0.ffn_down": (16, 32)}
    for number, (name, shape) in enumerate(shapes.items()):
        writer.add_tensor(f"{name}.weight", np.full(shape, number + 1, dtype=np.float32))
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_loaded_with_config_and_tokenizer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, scaling={"type": "none"}, factors=None)
    loaded = load_model(path)
    assert loaded.name == "tiny"
    assert capfd.readouterr() == ("", "")
    weights = loaded.model.state_dict()
    embedding = weights["model.embed_tokens.weight"].cpu()
    torch.testing.assert_close(embedding, torch.ones(4, 16), rtol=0, atol=0)
    down = weights["model.layers.0.mlp.down_proj.weight"].cpu()
    torch.testing.assert_close(down, torch.full((16, 32), 11.0), rtol=0, atol=0)
    assert loaded.config["rope_parameters"]["rope_theta"] == 12345.0
    assert load_config(path)["max_position_embeddings"] == 32
    assert loaded.require_tokenizer()("abab", add_special_tokens=False).input_ids == [2, 2]


@pytest.mark.parametrize(
    ("scaling", "factors", "named", "factor"),
    [
        ({"type": "yarn", "factor": 4.0}, None, "yarn", 4.0),
        ({"type": "linear", "factor": 4.0}, None, "linear", 4.0),
        ({}, np.full(4, 8.0, dtype=np.float32), "rope_freqs.weight", None),
    ],
)
def test_a_gguf_file_whose_scaling_would_be_dropped_is_not_loaded_and_its_header_is_read(
    tmp_path: Path,
    scaling: dict[str, object],
    factors: np.ndarray | None,
    named: str,
    factor: float | None,
) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, scaling, factors)
    assert f"its rope scaling ({named}) is dropped by transformers" in refusal(path)
    rope = load_config(path)["rope_scaling"]
    assert (rope["rope_type"], rope.get("factor")) == (scaling.get("type", "longrope"), factor)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"PK\x03\x04")
    assert "not a GGUF file (it begins with b'PK" in refusal(path)


def test_a_truncated_gguf_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, scaling={}, factors=None)
    path.write_bytes(path.read_bytes()[:200])
    assert str(path) in refusal(path)


def test_without_the_gguf_package_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert 'pip install "ropewalk[gguf]"' in refusal(path)


# The hub


class Hub(ThreadingHTTPServer):
    """Answers every question with one status and one error code."""

    def __init__(self, status: int, code: str) -> None:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return None

        super().__init__(("127.0.0.1", 0), Answer)

    def __enter__(self) -> "Hub":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


def hub_refusal(cache: Path, **environment: str) -> tuple[str, float]:
    """What a fresh process says to a hub id, and after how many seconds."""
    code = (
        "from ropewalk.integrations import sources\n"
        "from ropewalk.core.errors import RopewalkError\n"
        "sources.HUB_TIMEOUT_SECONDS = 0.5\n"
        "try: sources.fetch('someone/some-model')\n"
        "except RopewalkError as error: print(error)\n"
    )
    ours = ("HF_", "HTTP", "http", "ALL_PROXY", "all_proxy")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "HF_HOME": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    return lines[0], time.monotonic() - started


def test_offline_mode_is_answered_in_one_line(tmp_path: Path) -> None:
    line, seconds = hub_refusal(tmp_path, HF_HUB_OFFLINE="1")
    assert "someone/some-model: no such folder, not in the local hub cache" in line
    assert "HF_HUB_OFFLINE is set" in line
    assert seconds < 10


def test_a_hub_out_of_reach_is_answered_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    line, seconds = hub_refusal(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert "the hub is out of reach" in line
    assert seconds < 10


def test_a_hub_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        line, seconds = hub_refusal(tmp_path, HF_ENDPOINT=endpoint)
    assert "the hub is out of reach" in line
    assert seconds < 10


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "RepoNotFound", "no such model on the hub"),
        (403, "GatedRepo", "wants its licence accepted"),
        (500, "", "the hub answered 500"),
    ],
)
def test_what_the_hub_refuses_is_said(
    tmp_path: Path, status: int, code: str, expected: str
) -> None:
    with Hub(status, code) as hub:
        line, _ = hub_refusal(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")
    assert expected in line


def test_a_cached_hub_id_needs_no_network(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--someone--some-model"
    shutil.copytree(saved, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loaded = load_model("someone/some-model")
    assert loaded.name == "someone/some-model"
    assert loaded.fingerprint == load_model(saved).fingerprint
    assert load_config("someone/some-model") == load_config(saved)
