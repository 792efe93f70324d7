"""``export --out``: a folder or a file that computes what was asked for, or nothing."""

import json
import math

import numpy as np
import pytest
import torch

import gguf_files
import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.integrations.loading import load_model

gguf = pytest.importorskip("gguf")
L0, LONG = 256, 1024
IDS = torch.arange(2, 602)[None] % 500


def stock_logits(folder):
    """What plain transformers computes for the folder."""
    with torch.no_grad():
        return load_model(folder).model(IDS, use_cache=False).logits


@pytest.mark.parametrize(
    "spec", ["yarn:factor=4", "yarn:factor=4,ramp=paper", "ntk_aware:factor=4"]
)
def test_plain_transformers_computes_the_method_of_the_folder(spec, tmp_path):
    out = tmp_path / "longer"
    document = rw.export(str(demo_model()), spec, "transformers", out=out)
    assert document["engines"]["transformers"] is document["engines"]["vllm"] is None
    loaded = load_model(demo_model())
    with rw.extend(loaded.model, spec), torch.no_grad():
        asked = loaded.model(IDS, use_cache=False).logits
    with torch.no_grad():
        plain = loaded.model(IDS, use_cache=False).logits
    # float32 angles of the library beside ours; beyond L0 another encoding is far away.
    torch.testing.assert_close(stock_logits(out), asked, atol=2e-2, rtol=0)
    assert (plain - asked).abs().max() > 1


def test_weights_are_linked_and_all_else_is_there(tmp_path):
    out = tmp_path / "longer"
    rw.export(str(demo_model()), "yarn:factor=4", "vllm", out=out)
    source, copy = (folder / "model.safetensors" for folder in (demo_model(), out))
    assert source.read_bytes() == copy.read_bytes()
    assert (out / "tokenizer.json").read_bytes() == (demo_model() / "tokenizer.json").read_bytes()
    assert json.loads((out / "config.json").read_text())["max_position_embeddings"] == LONG
    card = (out / "README.md").read_text()
    assert "| vllm | yes | `vllm serve MODEL --max-model-len 1024` |" in card
    assert str(tmp_path) not in card


def test_a_tokenizer_is_told_of_the_length(tmp_path):
    out = tmp_path / "longer"
    stated = json.loads((demo_model() / "tokenizer_config.json").read_text())
    rw.export(str(demo_model()), "yarn:factor=8", "vllm", out=out)
    told = json.loads((out / "tokenizer_config.json").read_text())
    longest = stated.pop("model_max_length", None)
    assert told.pop("model_max_length", None) in (longest, 8 * L0)
    assert longest is None or longest >= 8 * L0 or told["model_max_length"] == 8 * L0
    assert told == stated


@pytest.mark.parametrize(
    ("spec", "engine", "said"),
    [
        ("rerope", "vllm", "no engine has its position map"),
        ("dynamic_ntk", "transformers", "policy=fixed"),
        ("yarn:factor=4", "llama.cpp", "convert_hf_to_gguf"),
    ],
)
def test_what_cannot_be_said_is_refused_and_leaves_nothing(spec, engine, said, tmp_path):
    with pytest.raises(RopewalkError, match=said):
        rw.export(str(demo_model()), spec, engine, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_is_not_written_over(tmp_path):
    rw.export(str(demo_model()), "yarn:factor=4", "vllm", out=tmp_path / "one")
    before = (tmp_path / "one" / "config.json").read_bytes()
    with pytest.raises(RopewalkError, match="holds a checkpoint already"):
        rw.export(str(demo_model()), "yarn:factor=2", "vllm", out=tmp_path / "one")
    assert (tmp_path / "one" / "config.json").read_bytes() == before


def test_a_config_that_reads_back_otherwise_is_not_kept(tmp_path, monkeypatch):
    """A writer with a bug: the audit of what lies on the disk stands between it and the user."""
    from ropewalk.integrations import folders

    whole = folders.patched

    def wrong(config, patch, remove=()):
        found = whole(config, patch, remove)
        found["rope_parameters"] = {**found["rope_parameters"], "factor": 4.01}
        return found

    monkeypatch.setattr(folders, "patched", wrong)
    with pytest.raises(RopewalkError, match="read back, and its frequencies differ"):
        rw.export(str(demo_model()), "yarn:factor=4", "vllm", out=tmp_path / "new")
    assert not (tmp_path / "new" / "config.json").exists()


# New .gguf files.

WIDE = gguf_files.WIDTH


def exported(tmp_path, spec, architecture="llama", fields=None, factors=None):
    source = gguf_files.write(tmp_path / "old.gguf", architecture, fields, factors)
    new = tmp_path / "new.gguf"
    document = rw.export(str(source), spec, "llama.cpp", out=new)
    return source, new, document


def read(path):
    """A file as the gguf package reads it: pairs, and tensors with their bytes."""
    reader = gguf.GGUFReader(path)
    pairs = {n: f.contents() for n, f in reader.fields.items() if not n.startswith("GGUF.")}
    return pairs, {t.name: (t.tensor_type, np.array(t.data)) for t in reader.tensors}


def test_all_else_is_copied_bit_for_bit(tmp_path):
    source, new, _ = exported(tmp_path, "yarn:factor=4,ramp=paper")
    (old_pairs, old), (pairs, tensors) = read(source), read(new)
    assert set(tensors) - set(old) == {"rope_freqs.weight"}
    for name, (kind, data) in old.items():
        assert tensors[name][0] == kind
        np.testing.assert_array_equal(tensors[name][1], data)
    changed = {name for name in pairs if pairs[name] != old_pairs.get(name)}
    assert changed == {
        "llama.context_length",
        "llama.rope.freq_base",
        "llama.rope.scaling.attn_factor",
        "llama.rope.scaling.original_context_length",
        "llama.rope.scaling.type",
    }


def test_divisors_are_those_of_the_paper(tmp_path):
    """YaRN, arXiv:2309.00071, equations 17 and 18: a ramp over turns inside L0, from 1 to 32."""
    _, new, _ = exported(tmp_path, "yarn:factor=4,ramp=paper")
    pairs, tensors = read(new)
    theta = np.array([10_000 ** (-2 * i / WIDE) for i in range(WIDE // 2)])
    turns = gguf_files.CONTEXT * theta / (2 * math.pi)
    kept = np.clip((turns - 1) / (32 - 1), 0, 1)
    divisors = theta / (theta / 4 * (1 - kept) + theta * kept)
    np.testing.assert_allclose(tensors["rope_freqs.weight"][1], divisors, rtol=1e-6)
    assert pairs["llama.rope.scaling.type"] == "none"
    assert pairs["llama.rope.scaling.attn_factor"] == pytest.approx(1 + 0.1 * math.log(4), rel=1e-6)
    assert pairs["llama.context_length"] == 4 * gguf_files.CONTEXT


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("yarn:factor=4", {"type": "yarn", "factor": 4.0, "original_context_length": 128}),
        ("linear:factor=4", {"type": "linear", "factor": 4.0}),
        ("yarn:factor=4,attention_factor=1.0", {"attn_factor": 1 / (1 + 0.1 * math.log(4))}),
    ],
)
def test_keys_say_what_keys_can_say(spec, said, tmp_path):
    _, new, _ = exported(tmp_path, spec, "qwen2")
    pairs, tensors = read(new)
    assert not any(name.startswith("rope_f") for name in tensors)
    for key, value in said.items():
        wanted = value if isinstance(value, str) else pytest.approx(value, rel=1e-6)
        assert pairs[f"qwen2.rope.scaling.{key}"] == wanted


def test_an_architecture_without_tensors_of_divisors_is_refused(tmp_path):
    with pytest.raises(RopewalkError, match="the graph of qwen2 reads no tensor"):
        exported(tmp_path, "yarn:factor=4,ramp=paper", "qwen2")
    assert not (tmp_path / "new.gguf").exists()


def test_phi_3_takes_the_same_list_twice(tmp_path):
    old = {"rope_factors_short": [1.0] * 6, "rope_factors_long": [2.0] * 6}
    fields = {"rope.dimension_count": 12, "rope.scaling.original_context_length": 64}
    _, new, _ = exported(tmp_path, "llama3:factor=4", "phi3", fields, old)
    _, tensors = read(new)
    short, long = (tensors[f"rope_factors_{n}.weight"][1] for n in ("short", "long"))
    np.testing.assert_array_equal(short, long)
    assert (short[0], short[-1]) == (1.0, 4.0)


def test_an_old_scaling_does_not_stay_beside_the_new(tmp_path):
    freqs = {"rope_freqs": [1.0, 1, 1, 1, 2, 4, 8, 8]}
    fields = {"rope.scale_linear": 2.0, "rope.scaling.attn_factor": 1.3}
    _, new, _ = exported(tmp_path, "none", "llama", fields, freqs)
    pairs, tensors = read(new)
    assert "rope_freqs.weight" not in tensors
    assert "llama.rope.scale_linear" not in pairs
    assert "llama.rope.scaling.attn_factor" not in pairs


def test_flags_do_not_stack_on_divisors_that_a_file_holds(tmp_path):
    freqs = {"rope_freqs": [1.0, 1, 1, 1, 2, 4, 8, 8]}
    source = gguf_files.write(tmp_path / "old.gguf", "llama", None, freqs)
    plain = gguf_files.write(tmp_path / "plain.gguf", "llama", None, None)
    for spec in ("yarn:factor=4", "linear:factor=4", "abf:rope_theta=50000"):
        with pytest.raises(RopewalkError, match=r"rope_freqs\.weight.*stacks.*--out"):
            rw.export(str(source), spec, "llama.cpp")
        assert rw.export(str(plain), spec, "llama.cpp")["flags"]
    new = tmp_path / "new.gguf"
    rw.export(str(source), "yarn:factor=4", "llama.cpp", out=new)
    assert "rope_freqs.weight" not in read(new)[1]


def test_a_file_is_not_written_over(tmp_path):
    source = gguf_files.write(tmp_path / "old.gguf")
    with pytest.raises(RopewalkError, match="is there already"):
        rw.export(str(source), "yarn:factor=4", "llama.cpp", out=source)


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    source = gguf_files.write(tmp_path / "old.gguf")
    words = ["export", str(source), "--method", "yarn:factor=4", "--engine", "llama.cpp"]
    assert main([*words, "--out", str(tmp_path / "new.gguf")]) == 0
    out = capsys.readouterr().out
    assert f"llama-server -m {tmp_path / 'new.gguf'} -c 512" in out
    assert main([*words, "--out", str(tmp_path / "new.bin")]) == 2
    assert "expected the name of a new .gguf file" in capsys.readouterr().err
