"""What a search refuses, in one line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

import ropewalk as rw
from ropewalk.cli.main import main
from ropewalk.data import demo_book, toy_model
from ropewalk.methods.sidecar import sidecar_of
from ropewalk.methods.spec import parse_spec

SMALL = ["--length", "512", "--documents", "2", "1", "2", "--tail-tokens", "64"]


def refusal(capsys, *words):
    assert main(["search", *words]) == 2
    return capsys.readouterr().err


def test_bad_words_are_told_before_a_model_is_loaded(capsys):
    for words, said in [
        (["--length", "1"], "at least 2"),
        (["--length", "8x", "--way", "ramps"], "did you mean ramp"),
        (["--length", "8x", "--objective", "loss+0*needle"], "above 0"),
        (["--length", "8x", "--objective", "ppl"], "expected loss, needle, longppl"),
        (["--length", "8x", "--way", "gradient", "--objective", "needle"], "loss, which alone"),
        (["--length", "8x", "--documents", "0", "1", "2"], "at least 1"),
        (["--length", "8x", "--text", "nowhere.txt"], "no such file"),
        (["--length", "8x", "--seed", "-1"], "seed=-1"),
        (["--length", "8x", "--short-within", "nan"], "short_within=nan"),
    ]:
        assert said in refusal(capsys, *words), words


def test_a_text_shorter_than_the_length_is_told(capsys, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("Call me Ishmael. " * 40)
    said = refusal(
        capsys, str(toy_model()), "--length", "512", "--text", str(short), "--out", str(tmp_path)
    )
    assert "longer --text" in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [short]  # the folder is free for a better command


def test_a_tail_longer_than_the_length_leaves_no_folder(capsys, tmp_path):
    out = tmp_path / "new"
    words = ["--length", "512", "--tail-tokens", "600", "--out", str(out)]
    assert "fewer scored tokens" in refusal(capsys, str(toy_model()), *words)
    assert not out.exists()


@pytest.mark.parametrize("budget", ["-1", "0", "nan", "inf"])
def test_no_seconds_are_no_budget(capsys, tmp_path, budget):
    words = [*SMALL, "--budget", budget, "--out", str(tmp_path / "new")]
    assert "seconds above 0" in refusal(capsys, str(toy_model()), *words)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["--text", "--heldout"])
def test_a_text_that_would_be_searched_and_tested_on_is_told(capsys, tmp_path, option):
    """By its tokens: a copy is the same text."""
    first, copy = tmp_path / "first.txt", tmp_path / "copy.txt"
    for file in (first, copy):
        file.write_text(demo_book().read_text("utf-8")[:10_000], "utf-8")
    words = [*SMALL, "--text", str(first), option, str(copy), "--out", str(tmp_path / "new")]
    assert "first.txt and copy.txt hold the same" in refusal(capsys, str(toy_model()), *words)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a+b", "a,b"])
def test_a_folder_whose_files_no_spec_can_name_is_told(capsys, tmp_path, name):
    """``longrope:short_factor=@a+b/factors.json`` would be two methods."""
    words = [*SMALL, "--out", str(tmp_path / name)]
    assert "without + and comma" in refusal(capsys, str(toy_model()), *words)
    assert not (tmp_path / name).exists()


def test_a_checkpoint_whose_method_no_config_says_is_not_searched(capsys, tmp_path):
    """Its method would be left out of every measurement, without a word."""
    stated = shutil.copytree(toy_model(), tmp_path / "stated")
    (stated / "ropewalk.json").write_text(json.dumps(sidecar_of(parse_spec("nope"))))
    assert "states nope in ropewalk.json" in refusal(capsys, str(stated), *SMALL)


def test_one_text_is_one_of_several(tmp_path):
    with pytest.raises(rw.RopewalkError, match=r"nowhere\.txt cannot be read"):
        rw.search(toy_model(), 512, texts=str(tmp_path / "nowhere.txt"))


def test_an_absurd_length_is_told_as_one(capsys):
    assert "at most 2^40" in refusal(capsys, str(toy_model()), "--length", str(10**20))


def test_a_length_within_the_trained_one_is_told(capsys, tmp_path):
    said = refusal(capsys, str(toy_model()), "--length", "1x", "--out", str(tmp_path / "f"))
    assert "within the trained length 256" in said


def test_a_model_without_a_tokenizer_is_told(capsys, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(toy_model(), bare, ignore=shutil.ignore_patterns("tokenizer*"))
    assert "no tokenizer" in refusal(capsys, str(bare), *SMALL)


def test_a_loss_that_is_not_finite_is_told(tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(toy_model(), broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 3e38)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(rw.RopewalkError, match=r"not finite|its output"):
        rw.search(broken, 512, texts=[demo_book()], out=tmp_path / "g", documents=(2, 1, 2))


def test_a_family_that_rotates_nothing_is_named(capsys, tmp_path):
    """As tune and extend say it, not as a config that lacks a key."""
    folder = tmp_path / "gpt2"
    config = GPT2Config(vocab_size=512, n_positions=64, n_embd=32, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    for file in toy_model().glob("tokenizer*"):
        shutil.copy(file, folder)
    said = refusal(capsys, str(folder), "--length", "2x")
    assert "gpt2 has no rotary encoding; there is nothing to scale" in said
