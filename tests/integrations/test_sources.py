"""Names and paths, GGUF files, and the hub."""

import os
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
from saved_checkpoints import refusal

from ropewalk.integrations.loading import load_config, load_model
from ropewalk.integrations.sources import Checkpoint, ConfigFile, HubId, locate

# Names and paths.


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


# GGUF files.


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


# The hub.


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
